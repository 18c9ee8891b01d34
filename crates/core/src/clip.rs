use std::collections::VecDeque;

use crate::{ClipShape, Frame, PsnrDb};

/// The frames that a model scores together: `t` past frames, oldest first, and usually the
/// target after them. Every frame has the side that the shape states.
///
/// Without a target a clip still gives a predicted frame and a feature distance, but no PSNR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    shape: ClipShape,
    frames: Vec<Frame>,
}

/// Frames that do not make up a clip of the model's shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClipError {
    /// Neither the past frames alone nor the past frames and a target.
    #[error("clip has {found} frames; {} are expected (or {} without a target)", past_frames + 1, past_frames)]
    Count {
        /// Frames that came.
        found: usize,
        /// Past frames that the model needs.
        past_frames: usize,
    },
    /// A frame that was not resized to the model's side.
    #[error("frame {index} is {height}x{width} pixels; {side}x{side} is expected")]
    Size {
        /// Position in the clip, oldest first.
        index: usize,
        /// Its height in pixels.
        height: usize,
        /// Its width in pixels.
        width: usize,
        /// The model's side in pixels.
        side: usize,
    },
}

impl Clip {
    /// A clip of `shape` from frames in temporal order, oldest first.
    ///
    /// # Errors
    /// When there are neither `t` nor `t + 1` frames, or one is not `side` × `side`.
    pub fn new(shape: ClipShape, frames: Vec<Frame>) -> Result<Self, ClipError> {
        let past_frames = shape.past_frames();
        if frames.len() != past_frames && frames.len() != shape.frames() {
            return Err(ClipError::Count { found: frames.len(), past_frames });
        }
        let side = shape.side();
        for (index, frame) in frames.iter().enumerate() {
            let (height, width) = (frame.height(), frame.width());
            if (height, width) != (side, side) {
                return Err(ClipError::Size { index, height, width, side });
            }
        }
        Ok(Self { shape, frames })
    }

    /// The geometry that the frames were checked against.
    pub fn shape(&self) -> ClipShape {
        self.shape
    }

    /// The past frames, oldest first, and the target where there is one.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The `t` past frames, oldest first.
    pub fn past(&self) -> &[Frame] {
        &self.frames[..self.shape.past_frames()]
    }

    /// The frame to be predicted.
    pub fn target(&self) -> Option<&Frame> {
        self.frames.get(self.shape.past_frames())
    }

    /// PSNR of the baseline that predicts no motion at all: the target equals the last past frame.
    /// Absent without a target. A model must beat what this score detects.
    pub fn copy_frame_psnr(&self) -> Option<PsnrDb> {
        let target = self.target()?.pixels();
        let last = self.frames[self.shape.past_frames() - 1].pixels();
        let squares: u64 =
            target.iter().zip(last).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum();
        Some(PsnrDb::from_mse(squares as f64 / target.len() as f64 / (255.0 * 255.0)))
    }

    /// Bytes that the pixels take.
    pub fn bytes(&self) -> usize {
        self.frames.len() * self.shape.frame_bytes()
    }
}

/// The sliding window over one video: every frame is pushed once, and from the `t + 1`-th on each
/// push gives the clip that ends with it.
#[derive(Clone, Debug)]
pub struct ClipWindow {
    shape: ClipShape,
    frames: VecDeque<Frame>,
}

impl ClipWindow {
    /// An empty window, as at the start of a video.
    pub fn new(shape: ClipShape) -> Self {
        Self { shape, frames: VecDeque::with_capacity(shape.frames()) }
    }

    /// Takes the next frame; the first `t` of a video give no clip.
    ///
    /// # Errors
    /// When the frame is not `side` × `side`; the window is then as before.
    pub fn push(&mut self, frame: Frame) -> Result<Option<Clip>, ClipError> {
        let side = self.shape.side();
        let (height, width) = (frame.height(), frame.width());
        if (height, width) != (side, side) {
            return Err(ClipError::Size {
                index: self.frames.len().min(self.shape.past_frames()),
                height,
                width,
                side,
            });
        }
        if self.frames.len() == self.shape.frames() {
            self.frames.pop_front();
        }
        self.frames.push_back(frame);
        if self.frames.len() < self.shape.frames() {
            return Ok(None);
        }
        Clip::new(self.shape, self.frames.iter().cloned().collect()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(value: u8) -> Frame {
        Frame::new(16, 16, vec![value; 16 * 16 * 3]).unwrap()
    }

    fn shape() -> ClipShape {
        ClipShape::new(4, 16).unwrap()
    }

    #[test]
    fn window_gives_every_run_of_five_frames_in_order() {
        let mut window = ClipWindow::new(shape());
        let clips: Vec<Option<Clip>> =
            (0..7).map(|value| window.push(frame(value)).unwrap()).collect();
        assert!(clips[..4].iter().all(Option::is_none));
        for (last, clip) in clips.iter().enumerate().skip(4) {
            let values: Vec<usize> = clip
                .as_ref()
                .unwrap()
                .frames()
                .iter()
                .map(|f| usize::from(f.pixels()[0]))
                .collect();
            assert_eq!(values, (last - 4..=last).collect::<Vec<_>>());
        }
    }

    #[test]
    fn window_keeps_its_frames_when_one_is_refused() {
        let mut window = ClipWindow::new(shape());
        (0..4).for_each(|value| assert!(window.push(frame(value)).unwrap().is_none()));
        let odd = Frame::new(8, 16, vec![0; 8 * 16 * 3]).unwrap();
        assert!(window.push(odd).is_err());
        assert_eq!(window.push(frame(4)).unwrap().unwrap().past()[0], frame(0));
    }

    #[test]
    fn copy_frame_baseline_of_a_known_step() {
        let mut frames: Vec<Frame> = (0..4).map(|_| frame(100)).collect();
        frames.push(frame(151));
        // A step of 51 of 255 is 0.2: its square is 0.04, which is 13.98 dB.
        let psnr = Clip::new(shape(), frames).unwrap().copy_frame_psnr().unwrap();
        assert!((psnr.0 - 13.979_400_086_720_377).abs() < 1e-9);
    }

    #[test]
    fn a_clip_without_target_is_a_clip() {
        let clip = Clip::new(shape(), (0..4).map(frame).collect()).unwrap();
        assert!(clip.target().is_none());
        assert_eq!(clip.bytes(), 4 * 768);
        let error = Clip::new(shape(), (0..3).map(frame).collect()).unwrap_err();
        assert_eq!(error.to_string(), "clip has 3 frames; 5 are expected (or 4 without a target)");
    }
}
