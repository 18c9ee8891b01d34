//! Where a clip's prediction fails and what moves there, reduced to cells on the device.
//!
//! Pooling, weighing and judging are `protoguard_core`'s: what leaves the device is a few
//! kilobytes a clip.

use std::sync::Arc;

use protoguard_core::{ClipMaps, ClipShape, Plane};
use protoguard_kernels::transfer;
use tch::Tensor;

use crate::batch::Batch;
use crate::error::Result;
use crate::flow;

/// Cells in a row, or a few more where the side has no such divisor: a cell is the same share of a
/// scene at every side. Of frames of 128 pixels it is 4 pixels wide.
const CELLS: usize = 32;
/// Side in pixels of the frames that motion is looked for in. Frames of twice this side or more are
/// shrunk towards it, as far as their side divides: motion of a few pixels is what the flow's
/// linear model holds for.
const FLOW_SIDE: usize = 128;
/// Pairs of frames, the newest ones, whose motion is averaged.
const PAIRS: usize = 2;

/// Side of a cell, in pixels of frames of a shape.
fn cell(shape: ClipShape) -> usize {
    let widest = (shape.side() / CELLS).max(1);
    (1..=widest).rev().find(|&pixels| shape.side().is_multiple_of(pixels)).unwrap_or(1)
}

/// How many times frames of a shape are shrunk.
fn shrink(shape: ClipShape) -> usize {
    let wanted = (shape.side() / FLOW_SIDE).max(1);
    (1..=wanted).rev().find(|times| shape.side().is_multiple_of(8 * times)).unwrap_or(1)
}

/// The maps of a batch's clips, in their order. Those of a clip without target mean nothing.
///
/// `error [B, S, S]` is [`crate::scores::error_map`]; `distance [B, H, H]` is
/// [`crate::scores::feature_distance_map`], where there is a memory.
pub(crate) fn clip_maps(
    batch: &Batch,
    error: &Tensor,
    distance: Option<&Tensor>,
) -> Result<DeviceMaps> {
    let (shrink, cell) = (shrink(batch.shape()) as i64, cell(batch.shape()) as i64);
    let cells = |map: &Tensor| mean_by_square(&map.f_unsqueeze(1)?, cell);
    let moved = batch.difference_to_target()?.f_mul_scalar(0.5)?.f_square()?;
    let moved = moved.f_mean_dim([1i64].as_slice(), false, None)?; // [B, S, S]
    let speed = flow::speed(&newest_frames(batch, shrink)?)?;
    // A pixel of a shrunk frame is so many of the model's side.
    let speed = speed.f_mul_scalar(shrink as f64)?.f_unsqueeze(1)?;
    let distance = distance.map(|map| map.f_unsqueeze(1)).transpose()?;
    let mut maps = vec![cells(error)?, cells(&moved)?, speed];
    maps.extend(distance);
    let sides = maps.iter().map(|map| Ok(map.size4()?.3 as usize)).collect::<Result<_>>()?;
    let rows = maps.iter().map(|map| Ok(map.f_flatten(1, -1)?)).collect::<Result<Vec<_>>>()?;
    Ok(DeviceMaps { sides, rows: Tensor::f_cat(&rows, 1)? })
}

/// The last past frames and the target, oldest first, each `[B, 3, S', S']`.
fn newest_frames(batch: &Batch, shrink: i64) -> Result<Vec<Tensor>> {
    let past = batch.shape().past_frames();
    let first = past - PAIRS.min(past);
    let frame = |index: usize| Ok(batch.input.f_narrow(1, 3 * index as i64, 3)?);
    let mut frames = (first..past).map(frame).collect::<Result<Vec<Tensor>>>()?;
    frames.extend(batch.target.as_ref().map(Tensor::shallow_clone));
    frames.iter().map(|frame| mean_by_square(frame, shrink)).collect()
}

pub(crate) fn mean_by_square(map: &Tensor, side: i64) -> Result<Tensor> {
    if side == 1 {
        return Ok(map.shallow_clone());
    }
    Ok(map.f_avg_pool2d([side, side], [side, side], [0, 0], false, false, None)?)
}

/// The maps of a batch, still on the device.
pub(crate) struct DeviceMaps {
    /// Height and width of each map.
    sides: Vec<usize>,
    /// `[B, cells of all maps]`: a clip's maps one after the other.
    rows: Tensor,
}

impl DeviceMaps {
    /// Waits for the device.
    pub(crate) fn download(&self) -> Result<Vec<ClipMaps>> {
        let clips = self.rows.size2()?.0 as usize;
        let rows = transfer::download(&self.rows, clips)?;
        let clip = |row: &Arc<[f32]>| {
            let mut from = 0;
            let mut planes = self.sides.iter().map(|&side| {
                let values = row[from..from + side * side].into();
                from += side * side;
                Plane { height: side, width: side, channels: 1, values }
            });
            Some(ClipMaps {
                error: planes.next()?,
                moved: planes.next()?,
                speed: planes.next()?,
                feature_distance: planes.next(),
            })
        };
        Ok(rows.iter().filter_map(clip).collect())
    }
}

#[cfg(test)]
mod tests {
    use protoguard_core::{Clip, Frame};
    use tch::{Device, Kind};

    use super::*;

    /// Grey, with a bright square of `side / 8` pixels that moves to the right by so many a frame.
    fn clip(shape: ClipShape, pixels: usize) -> Clip {
        let side = shape.side();
        let frame = |index: usize| {
            let left = side / 4 + index * pixels;
            let pixel = |i: usize| {
                let (y, x) = (i / side, i % side);
                let inside = (left..left + side / 8).contains(&x)
                    && (side / 2..side / 2 + side / 8).contains(&y);
                [if inside { 200 } else { 100 }; 3]
            };
            Frame::new(side, side, (0..side * side).flat_map(pixel).collect::<Vec<u8>>()).unwrap()
        };
        Clip::new(shape, (0..shape.frames()).map(frame).collect()).unwrap()
    }

    fn maps_of(clips: &[Clip]) -> Vec<ClipMaps> {
        let batch = Batch::from_clips(clips, Device::Cpu).unwrap();
        let side = batch.shape().side() as i64;
        let error = Tensor::arange(batch.len() as i64 * side * side, (Kind::Float, Device::Cpu));
        let error = error.reshape([-1, side, side]);
        clip_maps(&batch, &error, None).unwrap().download().unwrap()
    }

    #[test]
    fn a_cell_is_the_same_share_of_a_frame_at_every_side() {
        let of = |side| cell(ClipShape::new(4, side).unwrap());
        assert_eq!([16, 64, 104, 128, 192, 256, 264].map(of), [1, 2, 2, 4, 6, 8, 8]);
        let of = |side| shrink(ClipShape::new(4, side).unwrap());
        assert_eq!([64, 128, 192, 256, 264, 384, 512].map(of), [1, 1, 1, 2, 1, 3, 4]);
    }

    #[test]
    fn a_cell_is_the_mean_of_its_pixels_and_a_clip_has_its_own() {
        let shape = ClipShape::new(4, 64).unwrap();
        let [first, second] = maps_of(&[clip(shape, 0), clip(shape, 1)]).try_into().unwrap();
        assert_eq!((first.error.height, first.error.values.len()), (32, 1024));
        // Rows of 64 pixels, cells of 2: the mean of 0, 1 and of the two below.
        assert_eq!(first.error.values[0], 0.5 + 64.0 * 0.5);
        assert_eq!(second.error.values[1], 4096.0 + 2.5 + 32.0);
        assert!(first.moved.values.iter().all(|&moved| moved == 0.0));
        assert!(first.speed.values.iter().all(|&speed| speed == 0.0));
        // Four past frames differ from the target by 4, 3, 2 and 1 columns at both of its edges.
        let total: f32 = second.moved.values.iter().sum::<f32>() * 4.0;
        let expected = (4.0 + 3.0 + 2.0 + 1.0) / 4.0 * 2.0 * 8.0 * (100.0f32 / 255.0).powi(2);
        assert!((total / expected - 1.0).abs() < 1e-4, "{total} for {expected}");
        assert!(first.feature_distance.is_none());
    }

    /// The square of 256 pixels, shrunk, is that of 128 to the pixel.
    #[test]
    fn speed_is_in_pixels_of_the_models_side_however_large_it_is() {
        let [small, large] = [(128, 1), (256, 2)].map(|(side, pixels)| {
            let maps = maps_of(&[clip(ClipShape::new(4, side).unwrap(), pixels)]);
            let speed = &maps[0].speed;
            assert_eq!((speed.height, speed.width), (16, 16));
            speed.values.iter().copied().fold(0.0, f32::max)
        });
        // An edge this hard is more than the linear model holds for, and comes out too fast.
        assert!((0.9..1.4).contains(&small), "{small}");
        assert!((large - 2.0 * small).abs() < 1e-4, "{large} is not twice {small}");
    }
}
