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

impl CameraState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Frozen,
        Self::Dark,
        Self::Bright,
        Self::Covered,
        Self::Blurred,
        Self::Moved,
        Self::ColourLost,
    ];

    /// Its name in files and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Dark => "dark",
            Self::Bright => "bright",
            Self::Covered => "covered",
            Self::Blurred => "blurred",
            Self::Moved => "moved",
            Self::ColourLost => "colour_lost",
        }
    }
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
            (self.is_gray(look), CameraState::ColourLost),
        ];
        states.into_iter().find(|(is, _)| *is).map(|(_, state)| state)
    }

    /// Whether colours are gone that were always there.
    fn is_gray(&self, look: &Look) -> bool {
        look.colour < self.least_colour / 4.0
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
    day: CameraBounds,
    night: Night,
    memory: WatchMemory,
}

/// Whether a camera is known as it looks without colour.
#[derive(Clone, Debug)]
enum Night {
    Unknown,
    /// Pictures without colour are expected, and how they look is not known.
    Expected,
    Known(CameraBounds),
}

/// What a watch knows of the frames before: enough for another to go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchMemory {
    state: Option<CameraState>,
    /// How many frames in a row said something else.
    otherwise: usize,
    /// How many frames in a row were the one before again.
    still: usize,
}

impl WatchMemory {
    /// What was wrong with the last frame.
    pub fn state(&self) -> Option<CameraState> {
        self.state
    }
}

/// What is known of a camera's picture at a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CameraView {
    /// What is wrong with it.
    pub state: Option<CameraState>,
    /// The last frames say something else, but too few of them do.
    pub in_doubt: bool,
}

impl CameraWatch {
    /// A watch that has seen nothing.
    pub fn new(bounds: CameraBounds) -> Self {
        Self { day: bounds, night: Night::Unknown, memory: WatchMemory::default() }
    }

    /// The same where pictures without colour are expected: they are held against how they look on
    /// normal video, where that is known.
    #[must_use]
    pub fn with_night(self, bounds: Option<CameraBounds>) -> Self {
        Self { night: bounds.map_or(Night::Expected, Night::Known), ..self }
    }

    /// The same that goes on from what another knew.
    #[must_use]
    pub fn after(self, memory: WatchMemory) -> Self {
        Self { memory, ..self }
    }

    /// What another watch needs to go on.
    pub fn memory(&self) -> WatchMemory {
        self.memory
    }

    /// Takes the next frame's look.
    pub fn push(&mut self, look: &Look) -> CameraView {
        let said = self.said(look);
        let WatchMemory { state, otherwise, .. } = &mut self.memory;
        *otherwise = if said == *state { 0 } else { *otherwise + 1 };
        // A frozen picture has been waited for already.
        if *otherwise >= FRAMES || said == Some(CameraState::Frozen) {
            (*state, *otherwise) = (said, 0);
        }
        CameraView { state: *state, in_doubt: *otherwise > 0 }
    }

    /// What a frame says, with those of the same picture before it.
    fn said(&mut self, look: &Look) -> Option<CameraState> {
        let still = if is_same(look) { self.memory.still + 1 } else { 0 };
        self.memory.still = still;
        let gray = Some(CameraState::ColourLost);
        let (bounds, fault, otherwise) = match &self.night {
            Night::Known(night) if self.day.is_gray(look) => {
                (night, night.judge(look).filter(|fault| Some(*fault) != gray), gray)
            }
            Night::Expected if self.day.is_gray(look) => (&self.day, None, gray),
            _ => (&self.day, self.day.judge(look), None),
        };
        let frozen = (still >= bounds.frozen_after()).then_some(CameraState::Frozen);
        fault.or(frozen).or(otherwise)
    }
}

#[cfg(test)]
mod tests;
