//! What is asked for, what comes of it, and why it may not.

use std::fmt;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::picture::Change;

/// What is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InsertedKind {
    /// Something of the video goes its way again, two to four times as fast.
    SpedUp,
    /// Something of another video or place, larger and turned left to right, moves through the
    /// picture on a way of its own.
    ForeignPatch,
    /// Something that moved stands still, then is where it would have been.
    Stopped,
    /// Something of the video goes its way again, backwards.
    Reversed,
    /// A drawn cyclist, cart or thrown object crosses.
    DrawnObject,
}

impl InsertedKind {
    /// Every kind, in the order in which videos take turns.
    pub const ALL: [Self; 5] =
        [Self::SpedUp, Self::ForeignPatch, Self::Stopped, Self::Reversed, Self::DrawnObject];
}

impl fmt::Display for InsertedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SpedUp => "sped up",
            Self::ForeignPatch => "foreign patch",
            Self::Stopped => "stopped",
            Self::Reversed => "reversed",
            Self::DrawnObject => "drawn object",
        })
    }
}

/// What to put into one video.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InsertPlan {
    /// All that differs between two results of one video.
    pub seed: u64,
    /// One event each, in their order in time; one or two.
    pub kinds: Vec<InsertedKind>,
}

impl InsertPlan {
    /// The fewest frames that an event has, and the most.
    pub const EVENT_FRAMES: [usize; 2] = [20, 60];
    /// Frames before, between and behind events that stay as they are, at least.
    pub const NORMAL_FRAMES: usize = 12;

    /// The plan of video number `index`, so that kinds take turns: two events where the video has
    /// 160 frames or more, otherwise one.
    pub fn of_video(seed: u64, index: usize, frames: usize) -> Self {
        let turn = |at: usize| InsertedKind::ALL[at % InsertedKind::ALL.len()];
        let kinds = if frames >= 160 { 2 } else { 1 };
        let kinds = (0..kinds).map(|event| turn(index * kinds + event)).collect();
        Self { seed: seed ^ (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15), kinds }
    }
}

/// A video into which nothing can be put.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// Too few frames.
    #[error("the video has {found} frames; {needed} are needed for {events} events")]
    TooShort {
        /// Its frames.
        found: usize,
        /// What the events and the normal frames around them take.
        needed: usize,
        /// Events of the plan.
        events: usize,
    },
    /// A plan without events, or with more than two.
    #[error("the plan has {found} events; 1 or 2 are expected")]
    Events {
        /// How many it has.
        found: usize,
    },
    /// Frames of several sizes.
    #[error("frame {index} is {height}x{width} pixels; frames of one size are expected")]
    Size {
        /// The first odd frame.
        index: usize,
        /// Its height in pixels.
        height: usize,
        /// Its width in pixels.
        width: usize,
    },
    /// Nothing in the video moves in a way that the kind needs.
    #[error(
        "nothing that moves through {frames} frames can be {kind}; something of at least {least} pixels that moves on for 20 frames or more is needed"
    )]
    NoMotion {
        /// The kind.
        kind: InsertedKind,
        /// Frames that were looked through.
        frames: usize,
        /// The fewest pixels that count as something.
        least: usize,
    },
}

/// Changed frames, all in a row.
pub(super) struct Event {
    pub(super) first_frame: usize,
    pub(super) changes: Vec<Change>,
}

/// One of a list, at random, taken out of it.
pub(super) fn draw<T>(from: &mut Vec<T>, rng: &mut ChaCha8Rng) -> Option<T> {
    if from.is_empty() {
        return None;
    }
    let at = rng.random_range(0..from.len());
    Some(from.swap_remove(at))
}
