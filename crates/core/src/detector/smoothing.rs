//! A sum and those of the frames before it.

use crate::surprise::Normal;

/// Makes one video's sums into surprises that rest on its past frames as well: a causal
/// exponential average, with its own distribution over normal video.
#[derive(Clone, Debug)]
pub struct Smoother<'a> {
    pub(super) normal: &'a Normal,
    pub(super) smoothing: Smoothing,
}

impl Smoother<'_> {
    /// Takes the [`ClipSurprise::sum`](super::ClipSurprise::sum) of the next frame and gives the smoothed surprise.
    pub fn push(&mut self, sum: f64) -> f64 {
        self.normal.surprise(self.smoothing.push(sum))
    }

    /// The smoothed sum of the frames so far: enough for another smoother to go on.
    pub fn last(&self) -> Option<f64> {
        self.smoothing.last
    }
}

/// `y_k = keep · y_(k−1) + (1 − keep) · x_k`, which begins with the first value.
#[derive(Clone, Copy, Debug)]
pub struct Smoothing {
    keep: f64,
    last: Option<f64>,
}

impl Smoothing {
    /// At the start of a video; `keep` in [0, 1).
    pub fn new(keep: f64) -> Self {
        Self::after(keep, None)
    }

    /// After frames whose average is `last`.
    pub(super) fn after(keep: f64, last: Option<f64>) -> Self {
        Self { keep, last }
    }

    /// Takes the next value and gives the average up to it.
    pub fn push(&mut self, value: f64) -> f64 {
        let next = self.last.map_or(value, |last| self.keep * last + (1.0 - self.keep) * value);
        self.last = Some(next);
        next
    }
}
