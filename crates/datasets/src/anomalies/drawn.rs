//! A drawn object crosses.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::motion::{Source, Track};
use super::picture::Picture;
use super::place::{Slot, shown};
use super::plan::Event;
use protoguard_frames::scenes::{AnomalyKind, Mover};

/// A drawn cyclist, cart or thrown object crosses where something of the video went, and is as
/// large.
pub(super) fn drawn(source: &Source<'_>, slot: Slot, rng: &mut ChaCha8Rng) -> Option<Event> {
    let tracks = source.going(12);
    if tracks.is_empty() {
        return None;
    }
    (0..20).find_map(|_| {
        let track = tracks[rng.random_range(0..tracks.len())];
        crossing(source, track, slot, rng)
    })
}

fn crossing(source: &Source<'_>, track: &Track, slot: Slot, rng: &mut ChaCha8Rng) -> Option<Event> {
    let kinds = [AnomalyKind::Cyclist, AnomalyKind::Cart, AnomalyKind::ThrownObject];
    let middle = &track.blobs[track.blobs.len() / 2];
    let first = &source.frames[slot.first_frame];
    // Several who walk side by side are no taller than one.
    let height = (middle.height() as f32).min(0.35 * first.height() as f32);
    let mut mover = Mover::draw(kinds[rng.random_range(0..kinds.len())], height, rng);
    if is_gray(source) {
        mover.without_colour();
    }
    let width = first.width() as f32;
    let facing: f32 = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
    let (from, way) = (-mover.reach(), width + 2.0 * mover.reach());
    let changes = (0..slot.frames).map(|k| {
        let travelled = way * (k as f32 + 0.5) / slot.frames as f32;
        let x = if facing > 0.0 { from + travelled } else { width - from - travelled };
        let frame = &source.frames[slot.first_frame + k];
        let mut picture = Picture::over(frame);
        let place = [x, middle.bottom as f32 + 1.0];
        mover.pixels(frame, place, [travelled, facing]).into_iter().for_each(|pixel| {
            picture.lay(pixel.y, pixel.x, pixel.colour, 1.0);
        });
        picture.finish()
    });
    shown(slot, changes.collect())
}

fn is_gray(source: &Source<'_>) -> bool {
    let pixels = source.frames[0].pixels().chunks_exact(3);
    pixels.clone().all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2])
}
