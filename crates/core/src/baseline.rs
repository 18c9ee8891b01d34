//! What needs no model: differences of a clip's own frames, which a model must beat.

use crate::{CHANNELS, Clip, Frame, PsnrDb};

/// Side of the boxes of [`Baselines::copy_frame_box`], in pixels of the model's side.
const BOX: usize = 16;

/// Scores of a clip's target by what its past frames say without a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Baselines {
    /// [`Clip::copy_frame_psnr`].
    pub copy_frame: PsnrDb,
    /// The same inside the box of 16 × 16 pixels where it is lowest.
    pub copy_frame_box: PsnrDb,
    /// PSNR of `2 I_t − I_(t−1)`, held to [0, 1]: what goes on as it went. Absent with a single
    /// past frame.
    pub extrapolation: Option<PsnrDb>,
}

impl Clip {
    /// Scores by baselines. Absent without a target.
    pub fn baselines(&self) -> Option<Baselines> {
        let target = self.target()?;
        let [before @ .., last] = self.past() else { return None };
        let copied = squares(target, |at| i16::from(last.pixels()[at]));
        let extrapolation = before.last().map(|before| {
            let goes_on = |at: usize| {
                let [now, then] = [last, before].map(|frame| i16::from(frame.pixels()[at]));
                (2 * now - then).clamp(0, 255)
            };
            mean_psnr(squares(target, goes_on).iter().map(|&sum| u64::from(sum)).sum(), target)
        });
        Some(Baselines {
            copy_frame: self.copy_frame_psnr()?,
            copy_frame_box: largest_box(&copied, target.width()),
            extrapolation,
        })
    }
}

/// Squared difference of `target` and a prediction of its values, summed over channels, by pixel.
fn squares(target: &Frame, predicted: impl Fn(usize) -> i16) -> Vec<u32> {
    let square = |(at, &value): (usize, &u8)| {
        u32::from((i16::from(value) - predicted(at)).unsigned_abs()).pow(2)
    };
    let by_value: Vec<u32> = target.pixels().iter().enumerate().map(square).collect();
    by_value.chunks_exact(CHANNELS).map(|pixel| pixel.iter().sum()).collect()
}

fn mean_psnr(squares: u64, target: &Frame) -> PsnrDb {
    PsnrDb::from_mse(squares as f64 / target.pixels().len() as f64 / (255.0 * 255.0))
}

/// PSNR of the box with the largest sum, over every place that a box can have.
fn largest_box(squares: &[u32], width: usize) -> PsnrDb {
    let height = squares.len() / width;
    let side = BOX.min(width).min(height);
    let mut columns: Vec<u64> = vec![0; width];
    let mut largest = 0;
    for y in 0..height {
        for (x, column) in columns.iter_mut().enumerate() {
            *column += u64::from(squares[y * width + x]);
            if y >= side {
                *column -= u64::from(squares[(y - side) * width + x]);
            }
        }
        if y + 1 >= side {
            let of_row = columns.windows(side).map(|columns| columns.iter().sum()).max();
            largest = largest.max(of_row.unwrap_or(0));
        }
    }
    let values = (side * side * CHANNELS) as f64;
    PsnrDb::from_mse(largest as f64 / values / (255.0 * 255.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClipShape;

    fn clip(frames: Vec<Frame>) -> Clip {
        Clip::new(ClipShape::new(frames.len() - 1, 32).unwrap(), frames).unwrap()
    }

    fn flat(value: u8) -> Frame {
        Frame::new(32, 32, vec![value; 32 * 32 * 3]).unwrap()
    }

    #[test]
    fn what_goes_on_as_it_went_is_extrapolated() {
        let found = clip(vec![flat(0), flat(100), flat(120), flat(140)]).baselines().unwrap();
        assert_eq!(found.extrapolation.unwrap().0, 100.0);
        // A step of 20 of 255 everywhere: −20 log10(20 / 255) = 22.11 dB, in every box as well.
        assert!((found.copy_frame.0 - 22.1102).abs() < 1e-4);
        assert_eq!(found.copy_frame_box, found.copy_frame);
        // A step of 51 too far, which is 0.2: −10 log10(0.04) = 13.98 dB.
        let turned = clip(vec![flat(100), flat(120), flat(191)]).baselines().unwrap();
        assert!((turned.extrapolation.unwrap().0 - 13.979_400).abs() < 1e-6);
        // Beyond white there is nothing: 2 · 200 − 100 is held to 255.
        let bright = clip(vec![flat(100), flat(200), flat(255)]).baselines().unwrap();
        assert_eq!(bright.extrapolation.unwrap().0, 100.0);
        assert_eq!(clip(vec![flat(1), flat(2)]).baselines().unwrap().extrapolation, None);
    }

    #[test]
    fn the_largest_box_is_where_the_change_is() {
        // 8 × 4 pixels change by 51 of 255, a square of 0.04: 32 of the 256 pixels of a box, and
        // 32 of the 1024 of the frame. They lie across the borders of boxes side by side.
        let mut pixels = vec![100; 32 * 32 * 3];
        for y in 14..22 {
            pixels[(y * 32 + 13) * 3..(y * 32 + 17) * 3].fill(151);
        }
        let changed = Frame::new(32, 32, pixels).unwrap();
        let found = clip(vec![flat(100), changed]).baselines().unwrap();
        let db = |share: f64| -10.0 * (share * 0.04).log10();
        assert!((found.copy_frame_box.0 - db(32.0 / 256.0)).abs() < 1e-9, "{found:?}");
        assert!((found.copy_frame.0 - db(32.0 / 1024.0)).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn a_box_holds_sixteen_rows_wherever_it_lies() {
        let of_rows = |rows: std::ops::Range<usize>| {
            let mut pixels = vec![100; 32 * 32 * 3];
            rows.for_each(|y| pixels[(y * 32 + 3) * 3..(y * 32 + 4) * 3].fill(151));
            let changed = Frame::new(32, 32, pixels).unwrap();
            clip(vec![flat(100), changed]).baselines().unwrap().copy_frame_box.0
        };
        let db = |pixels: f64| -10.0 * (pixels / 256.0 * 0.04).log10();
        for (rows, pixels) in [(0..1, 1.0), (31..32, 1.0), (4..32, 16.0), (0..28, 16.0)] {
            assert!((of_rows(rows.clone()) - db(pixels)).abs() < 1e-9, "{rows:?}");
        }
    }

    #[test]
    fn without_a_target_there_is_nothing_to_score() {
        let shape = ClipShape::new(2, 32).unwrap();
        assert_eq!(Clip::new(shape, vec![flat(1), flat(2)]).unwrap().baselines(), None);
    }
}
