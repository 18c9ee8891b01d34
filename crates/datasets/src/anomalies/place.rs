//! When events happen, and how they come and go.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::plan::{Event, InsertError, InsertPlan};
use crate::anomalies::picture::Change;

/// Where in time an event is to lie. It may begin later or end earlier, never outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) first_frame: usize,
    pub(super) frames: usize,
}

/// Frames that `events` events need.
pub(super) fn needed(events: usize) -> usize {
    let [least, _] = InsertPlan::EVENT_FRAMES;
    events * least + (events + 1) * InsertPlan::NORMAL_FRAMES
}

/// One slot an event, with normal frames before, between and behind them.
pub(super) fn slots(
    frames: usize,
    events: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Slot>, InsertError> {
    let needed = needed(events);
    if frames < needed {
        return Err(InsertError::TooShort { found: frames, needed, events });
    }
    let [least, most] = InsertPlan::EVENT_FRAMES;
    // Each event has an even share of what the normal frames leave, and lies in it at random.
    let share = (frames - (events + 1) * InsertPlan::NORMAL_FRAMES) / events;
    let mut slot = |event: usize| {
        let begin = InsertPlan::NORMAL_FRAMES + event * (share + InsertPlan::NORMAL_FRAMES);
        let shortest = share.min(most).min((least + most) / 2);
        let frames = rng.random_range(shortest..=share.min(most));
        Slot { first_frame: begin + rng.random_range(0..=share - frames), frames }
    };
    Ok((0..events).map(&mut slot).collect())
}

/// The part of a slot in which what was put in shows: from the first to the last frame with a
/// quarter of the most pixels that it ever shows. Nothing where that is shorter than an event, or
/// a frame in between does not differ from the original.
pub(super) fn shown(slot: Slot, changes: Vec<Change>) -> Option<Event> {
    let most = changes.iter().map(|change| change.mask.count()).max()?;
    let shows = |change: &Change| change.mask.any() && 4 * change.mask.count() >= most;
    let first = changes.iter().position(shows)?;
    let last = changes.iter().rposition(shows)?;
    let mut changes = changes;
    changes.truncate(last + 1);
    changes.drain(..first);
    let [least, most] = InsertPlan::EVENT_FRAMES;
    let whole = changes.iter().all(|change| change.differs && change.mask.any());
    let fits = (least..=most).contains(&changes.len());
    (whole && fits).then_some(Event { first_frame: slot.first_frame + first, changes })
}
