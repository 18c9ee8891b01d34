//! Anomalies put into normal video, for a validation set that needs no labels.
//!
//! Detectors are compared, and their settings chosen, on a camera's own normal video with things
//! in it that the camera never showed. What is put in moves as something in that video moves:
//! people and vehicles are cut out along their tracks against the video's own background, with
//! soft edges, and pasted where they were seen, so that neither a seam nor a wrong size gives them
//! away. Frames outside the events are the originals to the bit, and a frame is labelled exactly
//! where it differs.
//!
//! Deliberately absent: a moving camera, and video in which nothing moves.

mod drawn;
mod motion;
mod passing;
mod picture;
mod place;
mod sprite;
mod stop;

use std::fmt;

use protoguard_core::{Frame, Mask};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use motion::Source;
use picture::Change;
use place::{Slot, slots};

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

/// One event that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InsertedEvent {
    /// What it shows.
    pub kind: InsertedKind,
    /// Index of its first frame.
    pub first_frame: usize,
    /// Its frames, all in a row.
    pub frames: usize,
}

/// A video with anomalies in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnomalousVideo {
    /// As many as the original has; those outside events are the originals.
    pub frames: Vec<Frame>,
    /// One a frame; `true` where it differs from the original. The first frames of a stop differ
    /// little: something is where it just was.
    pub labels: Vec<bool>,
    /// The pixels that show the anomaly, one mask a frame, some where the label is true.
    pub masks: Vec<Mask>,
    /// The events in temporal order.
    pub events: Vec<InsertedEvent>,
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

/// Puts the events of `plan` into a normal video of one fixed camera. `donor` is where foreign
/// patches come from: another video with frames of the same size, or the same one.
///
/// # Errors
/// When the plan has no event or more than two, the video is too short for it, frames differ in
/// size, or nothing in it moves in a way that a kind needs.
pub fn insert(
    video: &[Frame],
    donor: &[Frame],
    plan: &InsertPlan,
) -> Result<AnomalousVideo, InsertError> {
    if !(1..=2).contains(&plan.kinds.len()) {
        return Err(InsertError::Events { found: plan.kinds.len() });
    }
    check_sizes(video, donor)?;
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let slots = slots(video.len(), plan.kinds.len(), &mut rng)?;
    let source = Source::new(video);
    let (height, width) = (video[0].height(), video[0].width());
    let mut made = AnomalousVideo {
        frames: video.to_vec(),
        labels: vec![false; video.len()],
        masks: vec![Mask::empty(height, width); video.len()],
        events: Vec::new(),
    };
    for (&kind, slot) in plan.kinds.iter().zip(slots) {
        let event = Wanted { kind, slot }.make(&source, donor, &mut rng)?;
        made.put(kind, event);
    }
    Ok(made)
}

/// An event that is to be made, and where.
struct Wanted {
    kind: InsertedKind,
    slot: Slot,
}

/// Changed frames, all in a row.
struct Event {
    first_frame: usize,
    changes: Vec<Change>,
}

impl Wanted {
    fn make(
        &self,
        source: &Source<'_>,
        donor: &[Frame],
        rng: &mut ChaCha8Rng,
    ) -> Result<Event, InsertError> {
        let made = match self.kind {
            InsertedKind::SpedUp => passing::sped_up(source, self.slot, rng),
            InsertedKind::Reversed => passing::reversed(source, self.slot, rng),
            InsertedKind::ForeignPatch => passing::foreign(source, donor, self.slot, rng),
            InsertedKind::Stopped => stop::stopped(source, self.slot, rng),
            InsertedKind::DrawnObject => drawn::drawn(source, self.slot, rng),
        };
        let (kind, frames) = (self.kind, source.frames.len());
        made.ok_or_else(|| InsertError::NoMotion { kind, frames, least: source.least_pixels() })
    }
}

impl AnomalousVideo {
    fn put(&mut self, kind: InsertedKind, event: Event) {
        let Event { first_frame, changes } = event;
        self.events.push(InsertedEvent { kind, first_frame, frames: changes.len() });
        for (frame, change) in (first_frame..).zip(changes) {
            self.frames[frame] = change.frame;
            self.masks[frame] = change.mask;
            self.labels[frame] = true;
        }
    }
}

fn check_sizes(video: &[Frame], donor: &[Frame]) -> Result<(), InsertError> {
    let Some(first) = video.first() else {
        return Err(InsertError::TooShort { found: 0, needed: place::needed(1), events: 1 });
    };
    let size = |frame: &Frame| (frame.height(), frame.width());
    match video.iter().chain(donor).enumerate().find(|(_, frame)| size(frame) != size(first)) {
        None => Ok(()),
        Some((index, frame)) => {
            let (height, width) = size(frame);
            Err(InsertError::Size { index, height, width })
        }
    }
}

/// One of a list, at random, taken out of it.
fn draw<T>(from: &mut Vec<T>, rng: &mut ChaCha8Rng) -> Option<T> {
    if from.is_empty() {
        return None;
    }
    let at = rng.random_range(0..from.len());
    Some(from.swap_remove(at))
}
