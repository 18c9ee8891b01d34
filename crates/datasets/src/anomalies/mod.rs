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
mod plan;
mod sprite;
mod stop;

use protoguard_core::{Frame, Mask};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub use plan::{InsertError, InsertPlan, InsertedKind};

use motion::Source;
use place::{Slot, slots};
use plan::Event;

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
