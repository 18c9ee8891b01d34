use serde::{Deserialize, Serialize};

/// Colour channels of a frame: red, green, blue.
pub const CHANNELS: usize = 3;

/// The one home of a model's clip geometry: `t` past frames of `side` × `side` pixels predict
/// the frame after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawShape")]
pub struct ClipShape {
    past_frames: usize,
    side: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawShape {
    past_frames: usize,
    side: usize,
}

impl TryFrom<RawShape> for ClipShape {
    type Error = ShapeError;
    fn try_from(raw: RawShape) -> Result<Self, ShapeError> {
        Self::new(raw.past_frames, raw.side)
    }
}

/// A clip geometry that no network can be built for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// The encoder halves the side three times.
    #[error(
        "side is {found}; it must be a multiple of 8 from {} to {}",
        ClipShape::MIN_SIDE,
        ClipShape::MAX_SIDE
    )]
    Side {
        /// The side that was asked for, in pixels.
        found: usize,
    },
    /// At least one past frame is needed to predict the next.
    #[error("past_frames is {found}; it must be from 1 to {}", ClipShape::MAX_PAST_FRAMES)]
    PastFrames {
        /// The number of past frames that was asked for.
        found: usize,
    },
}

impl ClipShape {
    /// The smallest side whose bottleneck still has 2 × 2 positions.
    pub const MIN_SIDE: usize = 16;
    /// A bound that keeps a corrupt checkpoint from asking for all memory.
    pub const MAX_SIDE: usize = 2048;
    /// A bound for the same reason.
    pub const MAX_PAST_FRAMES: usize = 64;

    /// A geometry of `past_frames` frames before the target, each `side` pixels high and wide.
    ///
    /// # Errors
    /// When the side is not a multiple of 8 within bounds, or there is no past frame.
    pub fn new(past_frames: usize, side: usize) -> Result<Self, ShapeError> {
        if !side.is_multiple_of(8) || !(Self::MIN_SIDE..=Self::MAX_SIDE).contains(&side) {
            return Err(ShapeError::Side { found: side });
        }
        if !(1..=Self::MAX_PAST_FRAMES).contains(&past_frames) {
            return Err(ShapeError::PastFrames { found: past_frames });
        }
        Ok(Self { past_frames, side })
    }

    /// `t`, the number of frames that predict the next one.
    pub fn past_frames(self) -> usize {
        self.past_frames
    }

    /// Height and width of every frame, in pixels.
    pub fn side(self) -> usize {
        self.side
    }

    /// `t + 1`, the past frames and the target.
    pub fn frames(self) -> usize {
        self.past_frames + 1
    }

    /// Bytes of one frame as 8-bit RGB.
    pub fn frame_bytes(self) -> usize {
        self.side * self.side * CHANNELS
    }

    /// Bytes of a whole clip as 8-bit RGB.
    pub fn clip_bytes(self) -> usize {
        self.frames() * self.frame_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_size_clip_is_0_98_mb() {
        let shape = ClipShape::new(4, 256).unwrap();
        assert_eq!(
            (shape.frames(), shape.frame_bytes(), shape.clip_bytes()),
            (5, 196_608, 983_040)
        );
    }

    #[test]
    fn bounds_are_inclusive() {
        for (past_frames, side) in [(1, 16), (64, 2048), (4, 24)] {
            let shape = ClipShape::new(past_frames, side).unwrap();
            assert_eq!((shape.past_frames(), shape.side()), (past_frames, side));
        }
        for side in [8, 20, 2056] {
            assert_eq!(ClipShape::new(4, side), Err(ShapeError::Side { found: side }));
        }
        assert_eq!(ClipShape::new(65, 64), Err(ShapeError::PastFrames { found: 65 }));
    }

    #[test]
    fn errors_name_field_value_and_what_is_accepted() {
        let message = ClipShape::new(4, 100).unwrap_err().to_string();
        assert_eq!(message, "side is 100; it must be a multiple of 8 from 16 to 2048");
        let message = ClipShape::new(0, 64).unwrap_err().to_string();
        assert_eq!(message, "past_frames is 0; it must be from 1 to 64");
    }
}
