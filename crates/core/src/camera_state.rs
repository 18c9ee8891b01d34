//! What is wrong with a picture whatever happens in it: a camera that is frozen, dark, blind,
//! blurred, covered, moved or without colour.
//!
//! A model predicts a black or frozen picture perfectly, so that nothing is more normal to it. What
//! a picture looks like as a whole is measured apart from any model, and held against how the
//! camera looked on its normal video.

mod look;

use serde::{Deserialize, Serialize};

use crate::normalise::quantile;

use look::LAYOUT;
pub use look::Look;

/// A picture whose values differ by less than this on average is the one before it again, in
/// levels of 8 bits.
const SAME: f64 = 0.01;
/// Share of normal frames that may lie beyond a bound before its margin.
const TAIL: f64 = 0.001;
/// A state is entered, and left, when so many frames in a row say so.
const FRAMES: usize = 5;
/// The fewest unchanged frames in a row that are a frozen picture.
const FROZEN: usize = 20;

/// Why a score would say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CameraState {
    /// The same picture again and again.
    Frozen,
    /// Darker than it ever was.
    Dark,
    /// Brighter than it ever was.
    Bright,
    /// Next to nothing is to be seen, in whatever light.
    Covered,
    /// Edges are gone that were always there.
    Blurred,
    /// What stood somewhere stands elsewhere.
    Moved,
    /// Gray, as an infrared picture at night is.
    ColourLost,
}

/// How a camera looks on its normal video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraBounds {
    /// The darkest normal frames' brightness.
    pub darkest: f64,
    /// The brightest normal frames' brightness.
    pub brightest: f64,
    /// The least contrast of normal frames.
    pub least_contrast: f64,
    /// The least sharpness of normal frames.
    pub least_sharpness: f64,
    /// The least colour of normal frames.
    pub least_colour: f64,
    /// The most unchanged frames in a row of normal video.
    pub longest_still: usize,
    /// Mean layout of normal frames.
    pub layout: Vec<f64>,
    /// The least likeness of normal frames to it.
    pub least_likeness: f64,
}

impl CameraBounds {
    /// The fewest frames that bounds should be made of: with fewer, the rarest that lie beyond a
    /// bound are less than one, and the bound is the one most extreme frame.
    pub const MIN_FRAMES: usize = (1.0 / TAIL) as usize;

    /// How a camera looks, from the frames of its normal videos in order; nothing without any.
    pub fn of(videos: &[Vec<Look>]) -> Option<Self> {
        let looks = || videos.iter().flatten();
        let count = looks().count();
        if count == 0 {
            return None;
        }
        let bound = |share: f64, of: &dyn Fn(&Look) -> f64| {
            quantile(&looks().map(of).collect::<Vec<f64>>(), share)
        };
        let mut layout = vec![0.0; LAYOUT * LAYOUT];
        for look in looks() {
            for (sum, value) in layout.iter_mut().zip(&look.layout) {
                *sum += value / count as f64;
            }
        }
        Some(Self {
            darkest: bound(TAIL, &|look| look.brightness)?,
            brightest: bound(1.0 - TAIL, &|look| look.brightness)?,
            least_contrast: bound(TAIL, &|look| look.contrast)?,
            least_sharpness: bound(TAIL, &|look| look.sharpness)?,
            least_colour: bound(TAIL, &|look| look.colour)?,
            longest_still: videos.iter().map(|video| longest_still(video)).max()?,
            least_likeness: bound(TAIL, &|look| look.likeness(&layout))?,
            layout,
        })
    }

    /// What one frame says by itself, the gravest first; a frozen picture is only told by several.
    ///
    /// Bounds leave a margin of half of what was normal, so that a lamp or a cloud is no fault; of a
    /// third for where things stand, which neither changes.
    fn judge(&self, look: &Look) -> Option<CameraState> {
        let light = 255.0 - self.brightest;
        let states = [
            (look.brightness < self.darkest / 2.0, CameraState::Dark),
            (255.0 - look.brightness < light / 2.0, CameraState::Bright),
            (look.contrast < self.least_contrast / 2.0, CameraState::Covered),
            (look.sharpness < self.least_sharpness / 2.0, CameraState::Blurred),
            (look.likeness(&self.layout) < self.least_likeness / 1.5, CameraState::Moved),
            (look.colour < self.least_colour / 4.0, CameraState::ColourLost),
        ];
        states.into_iter().find(|(is, _)| *is).map(|(_, state)| state)
    }

    /// So many unchanged frames in a row are a frozen picture.
    fn frozen_after(&self) -> usize {
        (2 * self.longest_still).max(FROZEN)
    }
}

fn is_same(look: &Look) -> bool {
    look.change.is_some_and(|change| change < SAME)
}

fn longest_still(video: &[Look]) -> usize {
    video.split(|look| !is_same(look)).map(<[Look]>::len).max().unwrap_or(0)
}

/// Watches one camera's pictures.
#[derive(Clone, Debug)]
pub struct CameraWatch {
    bounds: CameraBounds,
    state: Option<CameraState>,
    /// What the last frames said instead, and how many of them.
    instead: Option<CameraState>,
    frames: usize,
    still: usize,
}

impl CameraWatch {
    /// A watch that has seen nothing.
    pub fn new(bounds: CameraBounds) -> Self {
        Self { bounds, state: None, instead: None, frames: 0, still: 0 }
    }

    /// Takes the next frame's look; the state from that frame on, nothing while all is well.
    pub fn push(&mut self, look: &Look) -> Option<CameraState> {
        self.still = if is_same(look) { self.still + 1 } else { 0 };
        let frozen = self.still >= self.bounds.frozen_after();
        let said = self.bounds.judge(look).or(frozen.then_some(CameraState::Frozen));
        if said == self.state {
            self.frames = 0;
            return self.state;
        }
        self.frames = if said == self.instead { self.frames + 1 } else { 1 };
        self.instead = said;
        // A frozen picture has been waited for already.
        if self.frames >= FRAMES || said == Some(CameraState::Frozen) {
            (self.state, self.frames) = (said, 0);
        }
        self.state
    }
}

#[cfg(test)]
mod tests;
