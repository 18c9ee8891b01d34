//! The time stamps of a video's frames.

use protoguard_core::normalise::quantile;
use protoguard_core::{CaptureTime, FrameGrid, FrameInterval, Placement};

/// Steps are averaged over so many, those of a clip: time stamps jitter, and what they jitter around
/// is the camera's rate.
const STEPS: usize = 4;
/// Share of a video's steps that its rate must hold for.
const MOST: f64 = 0.95;

/// When each frame of a video is shown, in that order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameTimes(Vec<CaptureTime>);

/// What a video's steps have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rhythm {
    /// All but a few steps are of one interval, which is their mean.
    Even(FrameInterval),
    /// They vary.
    Uneven {
        /// No more than one step in twenty is longer: the rate that the video keeps.
        slowest: FrameInterval,
    },
}

impl FrameTimes {
    /// The times of frames, in seconds and in any order: files store frames as they are decoded.
    pub fn new(seconds: impl IntoIterator<Item = f64>) -> Self {
        let mut times: Vec<CaptureTime> =
            seconds.into_iter().map(|at| CaptureTime((1e6 * at).round() as i64)).collect();
        times.sort();
        Self(times)
    }

    /// The rhythm of the frames; none for fewer than two, or where time stands still.
    pub fn rhythm(&self) -> Option<Rhythm> {
        let steps = STEPS.min(self.0.len().checked_sub(1)?).max(1);
        let mean = |frames: &[CaptureTime]| {
            let passed = frames[steps].since(frames[0]).unwrap_or_default();
            1e3 * passed.as_secs_f64() / steps as f64
        };
        let found: Vec<f64> = self.0.windows(steps + 1).map(mean).collect();
        let usual = FrameInterval::try_from(quantile(&found, 0.5)?).ok()?;
        let suits = |step: &f64| FrameInterval::try_from(*step).is_ok_and(|it| it.suits(usual));
        let even: Vec<f64> = found.iter().copied().filter(suits).collect();
        if even.len() as f64 >= MOST * found.len() as f64 {
            let mean = even.iter().sum::<f64>() / even.len() as f64;
            return Some(Rhythm::Even(FrameInterval::try_from(mean).ok()?));
        }
        let slowest = FrameInterval::try_from(quantile(&found, MOST)?).ok()?;
        Some(Rhythm::Uneven { slowest })
    }

    /// Whether each frame is on the grid of an interval.
    pub fn on_grid(&self, interval: FrameInterval) -> Vec<bool> {
        let mut grid = FrameGrid::new(interval);
        self.0.iter().map(|&at| grid.place(at) != Placement::OffGrid).collect()
    }
}
