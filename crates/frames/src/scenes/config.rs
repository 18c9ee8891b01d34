//! What to draw, and where its random numbers come from.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// What to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SynthConfig {
    /// All that differs between two data sets of one size.
    pub seed: u64,
    /// Normal videos.
    pub training_videos: usize,
    /// Videos with one anomalous stretch each; the kinds of anomaly take turns.
    pub testing_videos: usize,
    /// Frames of every video.
    pub frames_per_video: usize,
    /// Height of a frame in pixels.
    pub height: usize,
    /// Width of a frame in pixels.
    pub width: usize,
}

/// A configuration that cannot be drawn: one of its fields is too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}; at least {least} is needed")]
pub struct SceneError {
    /// The field's name.
    pub field: &'static str,
    /// Its value.
    pub found: usize,
    /// The least that is accepted.
    pub least: usize,
}

impl Default for SynthConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            training_videos: 12,
            testing_videos: 12,
            frames_per_video: 200,
            height: 120,
            width: 160,
        }
    }
}

impl SynthConfig {
    /// The smallest frame on which a person is more than a dot.
    pub const MIN_SIDE: usize = 32;
    /// The fewest frames in which an anomaly can come and go.
    pub const MIN_FRAMES: usize = 60;

    /// Whether it can be drawn.
    ///
    /// # Errors
    /// When frames are too small or too few, naming the field.
    pub fn check(&self) -> Result<(), SceneError> {
        let at_least = |field, found: usize, least: usize| {
            if found < least { Err(SceneError { field, found, least }) } else { Ok(()) }
        };
        at_least("height", self.height, Self::MIN_SIDE)?;
        at_least("width", self.width, Self::MIN_SIDE)?;
        at_least("frames_per_video", self.frames_per_video, Self::MIN_FRAMES)?;
        at_least("training_videos", self.training_videos, 1)
    }

    /// An independent source of numbers for each purpose within each video.
    pub(super) fn rng(&self, source: Source) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(source.stream());
        rng
    }
}

/// What random numbers are drawn for. The ground is shared by all videos: the camera stands still.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Ground,
    Crowd(VideoId),
    Light(VideoId),
    Anomaly(VideoId),
    Noise(VideoId, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VideoId {
    pub(super) testing: bool,
    pub(super) index: usize,
}

impl Source {
    fn stream(self) -> u64 {
        let of = |purpose: u64, video: VideoId, frame: usize| {
            purpose << 60
                | u64::from(video.testing) << 56
                | (video.index as u64) << 32
                | frame as u64
        };
        match self {
            Self::Ground => 0,
            Self::Crowd(video) => of(1, video, 0),
            Self::Light(video) => of(2, video, 0),
            Self::Anomaly(video) => of(3, video, 0),
            Self::Noise(video, frame) => of(4, video, frame),
        }
    }
}
