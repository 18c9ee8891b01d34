//! From clips to the tensors that the network takes.

use protoguard_core::{CHANNELS, Clip, ClipShape, Frame};
use protoguard_kernels::transfer;
use tch::{Device, Kind, Tensor};

use crate::error::{ModelError, Result};

/// Clips on a device, as the network takes them.
///
/// Channels are frame-major, oldest frame first: I_1 red, green, blue, I_2 red, …; values are in
/// [-1, 1] (`v / 127.5 − 1`). Tensors are `[B, channels, S, S]` with channels last in storage.
#[derive(Debug)]
pub struct Batch {
    /// The past frames, `[B, 3t, S, S]`.
    pub input: Tensor,
    /// The frames to be predicted, `[B, 3, S, S]`; absent where no clip has one. A clip without
    /// target has its last past frame here, which is not to be read: see `has_target`.
    pub target: Option<Tensor>,
    /// Which clips have a target.
    pub has_target: Vec<bool>,
    /// In training, for each clip one that is sped up; see [`Batch::beside`].
    pub sped_up: Option<Box<Batch>>,
    shape: ClipShape,
}

impl Batch {
    /// Moves clips to the device as 8-bit pixels and normalises them there.
    ///
    /// # Errors
    /// When there is no clip, or two have different shapes, or the device has no room.
    pub fn from_clips(clips: &[Clip], device: Device) -> Result<Self> {
        let shape = clips.first().ok_or(ModelError::EmptyBatch)?.shape();
        if let Some(index) = clips.iter().position(|clip| clip.shape() != shape) {
            return Err(ModelError::Batch {
                field: "shape",
                index,
                found: describe(clips[index].shape()),
                expected: describe(shape),
            });
        }
        let pixels = upload(clips, shape, device)?; // [B, t + 1, S, S, 3]
        let past = shape.past_frames() as i64;
        let input = stack_frames(&pixels.f_narrow(1, 0, past)?)?;
        let has_target: Vec<bool> = clips.iter().map(|clip| clip.target().is_some()).collect();
        let target = if has_target.contains(&true) {
            Some(stack_frames(&pixels.f_narrow(1, past, 1)?)?)
        } else {
            None
        };
        Ok(Self { input, target, has_target, sped_up: None, shape })
    }

    /// The same batch beside clips of the same video in which everything moves faster, one for
    /// each of its own, for the separation loss.
    ///
    /// # Errors
    /// When they are not as many, or of another shape.
    pub fn beside(self, sped_up: Self) -> Result<Self> {
        if sped_up.len() != self.len() || sped_up.shape != self.shape {
            let describe = |batch: &Self| format!("{} × {}", batch.len(), describe(batch.shape));
            return Err(ModelError::Batch {
                field: "sped-up companion",
                index: self.len().min(sped_up.len()),
                found: describe(&sped_up),
                expected: describe(&self),
            });
        }
        Ok(Self { sped_up: Some(Box::new(sped_up)), ..self })
    }

    /// The geometry of the clips.
    pub fn shape(&self) -> ClipShape {
        self.shape
    }

    /// Number of clips, `B`.
    pub fn len(&self) -> usize {
        self.has_target.len()
    }

    /// Whether there are none; [`Batch::from_clips`] makes no such batch.
    pub fn is_empty(&self) -> bool {
        self.has_target.is_empty()
    }

    /// The target, where every clip has one.
    ///
    /// # Errors
    /// Names the first clip without target.
    pub fn required_target(&self) -> Result<&Tensor> {
        let missing = self.has_target.iter().position(|&has| !has);
        match (&self.target, missing) {
            (Some(target), None) => Ok(target),
            (_, missing) => Err(ModelError::Batch {
                field: "number of frames",
                index: missing.unwrap_or(0),
                found: self.shape.past_frames().to_string(),
                expected: self.shape.frames().to_string(),
            }),
        }
    }

    /// `x_diff = x_in − repeat(y, t)`, `[B, 3t, S, S]` in [-2, 2] (Eq. 5): the difference of every
    /// past frame to the **last** frame, not of successive frames.
    ///
    /// # Errors
    /// When a clip has no target.
    pub fn difference(&self) -> Result<Tensor> {
        self.required_target()?;
        self.difference_to_target()
    }

    /// [`Batch::difference`] where only some clips have a target; that of a clip without one is to
    /// its last past frame.
    pub(crate) fn difference_to_target(&self) -> Result<Tensor> {
        let frames = self.shape.past_frames() as i64;
        let target = match &self.target {
            Some(target) => target,
            None => self.required_target()?,
        };
        Ok(self.input.f_sub(&target.f_repeat([1, frames, 1, 1])?)?)
    }

    /// The same batch in another floating-point kind.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn to_kind(&self, kind: Kind) -> Result<Self> {
        Ok(Self {
            input: self.input.f_to_kind(kind)?,
            target: self.target.as_ref().map(|target| target.f_to_kind(kind)).transpose()?,
            has_target: self.has_target.clone(),
            sped_up: self.sped_up.as_ref().map(|it| it.to_kind(kind).map(Box::new)).transpose()?,
            shape: self.shape,
        })
    }
}

/// `[B, t + 1, S, S, 3]` as u8 on the device, the last past frame standing in for absent targets.
fn upload(clips: &[Clip], shape: ClipShape, device: Device) -> Result<Tensor> {
    let mut frames = Vec::with_capacity(clips.len() * shape.frames());
    for clip in clips {
        let padding = clip.past().last().filter(|_| clip.target().is_none());
        frames.extend(clip.frames().iter().chain(padding).map(Frame::pixels));
    }
    let (side, channels) = (shape.side() as i64, CHANNELS as i64);
    let size = [clips.len() as i64, shape.frames() as i64, side, side, channels];
    Ok(transfer::upload(&frames, &size, device)?)
}

/// `[B, n, S, S, 3]` u8 → `[B, 3n, S, S]` f32 in [-1, 1]. The pixels are interleaved while they
/// are still bytes, so that the only f32 copy already lies channels last, which the CPU's
/// convolutions run faster on and keep to their outputs.
fn stack_frames(pixels: &Tensor) -> Result<Tensor> {
    let (batch, frames, height, width, channels) = pixels.size5()?;
    Ok(pixels
        .f_permute([0, 2, 3, 1, 4])?
        .f_reshape([batch, height, width, frames * channels])?
        .f_to_kind(Kind::Float)?
        .f_div_scalar_(127.5)?
        .f_sub_scalar_(1.0)?
        .f_permute([0, 3, 1, 2])?)
}

fn describe(shape: ClipShape) -> String {
    format!("{} past frames of {} pixels", shape.past_frames(), shape.side())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixel (y, x) of frame `f` holds `[f, y, x]`.
    fn clip(frames: u8) -> Clip {
        let shape = ClipShape::new(2, 16).unwrap();
        let frame = |index: u8| {
            let pixels: Vec<u8> = (0..=255u8).flat_map(|i| [index, i / 16, i % 16]).collect();
            Frame::new(16, 16, pixels).unwrap()
        };
        Clip::new(shape, (0..frames).map(frame).collect()).unwrap()
    }

    #[test]
    fn pixels_are_frame_major_and_scaled() {
        let batch = Batch::from_clips(&[clip(3), clip(3)], Device::Cpu).unwrap();
        assert_eq!(batch.input.size(), [2, 6, 16, 16]);
        let expected = |v: f64| (v / 127.5) - 1.0;
        for frame in 0..2 {
            for (channel, value) in [(0, frame as f64), (1, 5.0), (2, 9.0)] {
                let found = batch.input.double_value(&[1, frame * 3 + channel, 5, 9]);
                assert!((found - expected(value)).abs() < 1e-6);
            }
        }
        let target = batch.required_target().unwrap();
        assert!((target.double_value(&[0, 0, 3, 3]) - expected(2.0)).abs() < 1e-6);
        assert_eq!(target.size(), [2, 3, 16, 16]);
    }

    #[test]
    fn white_is_1_and_black_minus_1() {
        let shape = ClipShape::new(1, 16).unwrap();
        let frame = |value| Frame::new(16, 16, vec![value; 768]).unwrap();
        let clip = Clip::new(shape, vec![frame(0), frame(255)]).unwrap();
        let batch = Batch::from_clips(&[clip], Device::Cpu).unwrap();
        assert_eq!(batch.input.max().double_value(&[]), -1.0);
        assert_eq!(batch.required_target().unwrap().min().double_value(&[]), 1.0);
        assert_eq!(batch.difference().unwrap().min().double_value(&[]), -2.0);
    }

    #[test]
    fn difference_is_to_the_last_frame() {
        let batch = Batch::from_clips(&[clip(3)], Device::Cpu).unwrap();
        let difference = batch.difference().unwrap();
        // Red holds the frame's index: 0 − 2 and 1 − 2, in steps of 1/127.5.
        assert!((difference.double_value(&[0, 0, 4, 4]) * 127.5 + 2.0).abs() < 1e-4);
        assert!((difference.double_value(&[0, 3, 4, 4]) * 127.5 + 1.0).abs() < 1e-4);
        assert!(difference.double_value(&[0, 4, 4, 4]).abs() < 1e-6);
    }

    #[test]
    fn clips_with_and_without_target_mix_but_do_not_train() {
        let batch = Batch::from_clips(&[clip(3), clip(2)], Device::Cpu).unwrap();
        assert_eq!(batch.has_target, [true, false]);
        let message = batch.difference().unwrap_err().to_string();
        assert_eq!(message, "number of frames of clip 1 is 2; 3 is expected");
        assert!(Batch::from_clips(&[clip(2)], Device::Cpu).unwrap().target.is_none());
        assert_eq!(Batch::from_clips(&[], Device::Cpu).unwrap_err(), ModelError::EmptyBatch);
    }
}
