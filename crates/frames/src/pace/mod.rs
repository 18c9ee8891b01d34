//! The time between a video's frames, and which of them are read so that it is a model's.
//!
//! A model learns at one interval. Video of an even rate is brought to it by every second, third or
//! n-th frame, because even steps are what a model has to predict; where steps vary, frames are
//! picked by the grid of [`FrameGrid`](protoguard_core::FrameGrid), as a server does with a camera's
//! stream. Frames are never made twice: a picture that stands still is nothing that a camera saw.

mod times;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use protoguard_core::{FrameInterval, IntervalError, frames_a_step};

pub use times::{FrameTimes, Rhythm};

use crate::files::{Video, VideoSource};
use crate::video::{VideoError, probe};

/// Which frames of a video are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Thinning {
    /// All of them.
    #[default]
    All,
    /// The first, and each that is so many after the last.
    Every(NonZeroU32),
    /// Those marked here, one mark a frame.
    Marked(Arc<[bool]>),
}

impl Thinning {
    /// Whether the frame at this index, counted from 0, is read.
    pub fn takes(&self, frame: usize) -> bool {
        match self {
            Self::All => true,
            Self::Every(step) => frame.is_multiple_of(step.get() as usize),
            Self::Marked(marks) => marks.get(frame).copied().unwrap_or(false),
        }
    }

    /// What is left of one value a frame.
    pub fn of<T: Clone>(&self, frames: &[T]) -> Vec<T> {
        let taken = frames.iter().enumerate().filter(|(frame, _)| self.takes(*frame));
        taken.map(|(_, value)| value.clone()).collect()
    }

    fn every(step: u32) -> Self {
        match NonZeroU32::new(step) {
            Some(step) if step.get() > 1 => Self::Every(step),
            _ => Self::All,
        }
    }
}

/// How a video is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pace {
    /// The time between two of the frames that are read; none where nothing says it.
    pub interval: Option<FrameInterval>,
    /// Which frames those are.
    pub thinning: Thinning,
    /// Frames of the whole file, as far as its container tells; none for a folder, which shows them.
    pub file_frames: Option<usize>,
}

/// What is known, and wanted, of the time between frames.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Clock {
    /// The interval of folders of frames, and of files without time stamps; those with them tell it
    /// themselves.
    pub untimed: Option<FrameInterval>,
    /// What frames are brought to.
    pub wanted: Wanted,
}

/// What frames are brought to; where a video's interval is not known, all are read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Wanted {
    /// All frames, as they come.
    #[default]
    AsTheyAre,
    /// Even steps, of whatever interval.
    Even,
    /// Steps of this interval.
    At(FrameInterval),
}

/// A video that cannot be read at an interval.
#[derive(Debug, thiserror::Error)]
pub enum PaceError {
    /// Its time stamps cannot be read.
    #[error(transparent)]
    Video(#[from] VideoError),
    /// Its interval cannot be brought to the one that is wanted.
    #[error("video {path:?}: {source}")]
    Interval {
        /// The video's file or folder.
        path: PathBuf,
        /// Both intervals.
        source: IntervalError,
    },
}

impl Video {
    /// The same video, with how it is read by this clock. A file's time stamps are read for it.
    ///
    /// # Errors
    /// When the file is no video, or its interval cannot be brought to the wanted one.
    pub fn paced(self, clock: Clock) -> Result<Self, PaceError> {
        let off = |source| PaceError::Interval { path: self.path(), source };
        let pace = match &self.source {
            VideoSource::Frames(_) => Pace::even(clock.untimed, clock.wanted).map_err(off)?,
            VideoSource::File(path) => {
                let info = probe(path)?;
                let pace = Pace::timed(&info.times, clock).map_err(off)?;
                Pace { file_frames: Some(info.frames), ..pace }
            }
        };
        Ok(Self { pace, ..self })
    }
}

impl Pace {
    /// Of frames an even interval apart.
    fn even(interval: Option<FrameInterval>, wanted: Wanted) -> Result<Self, IntervalError> {
        let (Some(found), Wanted::At(wanted)) = (interval, wanted) else {
            return Ok(Self { interval, ..Self::default() });
        };
        let step = frames_a_step(found, wanted)?;
        // A step from the interval of a wanted one fits into its range but at the very end.
        let interval = FrameInterval::try_from(found.milliseconds() * f64::from(step)).ok();
        Ok(Self { interval, thinning: Thinning::every(step), file_frames: None })
    }

    /// Of frames with time stamps.
    fn timed(times: &FrameTimes, clock: Clock) -> Result<Self, IntervalError> {
        match times.rhythm() {
            None => Self::even(clock.untimed, clock.wanted),
            Some(Rhythm::Even(interval)) => Self::even(Some(interval), clock.wanted),
            Some(Rhythm::Uneven { slowest }) => {
                let grid = match clock.wanted {
                    Wanted::AsTheyAre => return Ok(Self::default()),
                    Wanted::Even => slowest,
                    Wanted::At(interval) => interval,
                };
                if slowest > grid && !slowest.suits(grid) {
                    return Err(IntervalError { found: slowest, model: grid });
                }
                let thinning = Thinning::Marked(times.on_grid(grid).into());
                Ok(Self { interval: Some(grid), thinning, file_frames: None })
            }
        }
    }
}

/// An interval for people: `100 ms apart (10 a second)`.
pub fn apart(interval: FrameInterval) -> String {
    let milliseconds = interval.milliseconds();
    // Two digits behind the point, and none of them where they are zeros.
    let [apart, rate] =
        [milliseconds, 1e3 / milliseconds].map(|value| (100.0 * value).round() / 100.0);
    format!("{apart} ms apart ({rate} a second)")
}

/// The interval of so many frames a second; none of a number that is no rate.
pub fn interval_at(frames_a_second: f64) -> Option<FrameInterval> {
    FrameInterval::try_from(1e3 / frames_a_second).ok()
}

/// The text of a flag, in frames a second, as an interval.
///
/// # Errors
/// When it is no number, or none that is accepted.
pub fn parse_rate(text: &str) -> Result<FrameInterval, &'static str> {
    let rate: f64 = text.parse().map_err(|_| "a number of frames a second is expected")?;
    interval_at(rate).filter(|_| rate <= 1000.0).ok_or("accepted: above 0, at most 1000")
}

#[cfg(test)]
mod tests;
