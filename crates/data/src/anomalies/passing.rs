//! Things that pass through the picture: seen before, faster or backwards, or from elsewhere.

use protoguard_core::Frame;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::motion::{Source, Track};
use super::picture::Picture;
use super::place::{Slot, shown};
use super::sprite::{Laid, Spot, Sprite};
use super::{Event, draw};

/// Frames over which something comes up or fades that does not come in at an edge.
const FADE: usize = 4;

/// The fewest frames of a track that things are cut out along.
const TRACK: usize = 20;

/// A track once more, two to three times as fast, and on beyond its end.
pub(super) fn sped_up(source: &Source<'_>, slot: Slot, rng: &mut ChaCha8Rng) -> Option<Event> {
    let mut tracks = source.going(TRACK);
    while let Some(track) = draw(&mut tracks, rng) {
        // A far-away walker must go fast to be seen at it: at least a hundredth of the side.
        let side = source.frames[0].width() as f32;
        let enough = 0.01 * side / track.speed().hypot();
        let times = rng.random_range(2.0..3.0f32).max(enough.min(4.0));
        let position = |frame: usize| times * frame as f32;
        if let Some(event) = along(source, track, slot, position) {
            return Some(event);
        }
    }
    None
}

/// A track once more, from its end to its beginning and on.
pub(super) fn reversed(source: &Source<'_>, slot: Slot, rng: &mut ChaCha8Rng) -> Option<Event> {
    let mut tracks = source.going(TRACK);
    while let Some(track) = draw(&mut tracks, rng) {
        let end = (track.blobs.len() - 1) as f32;
        if let Some(event) = along(source, track, slot, |frame| end - frame as f32) {
            return Some(event);
        }
    }
    None
}

/// Cuts a track's blobs out and lays them over the slot's frames, at position `position(k)` of the
/// track in the k-th of them. Beyond the track's ends its way goes straight on, and its looks go
/// back and forth.
fn along(
    source: &Source<'_>,
    track: &Track,
    slot: Slot,
    position: impl Fn(usize) -> f32,
) -> Option<Event> {
    let sprites: Vec<Sprite> = (track.first_frame..)
        .zip(&track.blobs)
        .map(|(frame, blob)| Sprite::of(blob, &source.frames[frame]))
        .collect();
    let changes = (0..slot.frames).map(|k| {
        let position = position(k);
        let mut picture = Picture::over(&source.frames[slot.first_frame + k]);
        let laid = Laid { at: spot(track, position), scale: 1.0, opacity: fade(k, slot.frames) };
        sprites[back_and_forth(position, sprites.len())].lay(&mut picture, laid);
        picture.finish()
    });
    shown(slot, changes.collect())
}

/// Where the track is at a position between, before or behind its frames.
fn spot(track: &Track, position: f32) -> Spot {
    let last = track.blobs.len() - 1;
    let inside = position.clamp(0.0, last as f32);
    let below = (inside as usize).min(last - 1);
    let (a, b, share) = (&track.blobs[below], &track.blobs[below + 1], inside - below as f32);
    let (speed, beyond) = (track.speed(), position - inside);
    Spot {
        y: a.y + (b.y - a.y) * share + speed.y * beyond,
        x: a.x + (b.x - a.x) * share + speed.x * beyond,
    }
}

fn back_and_forth(position: f32, count: usize) -> usize {
    let last = count as i64 - 1;
    let turn = (position.round() as i64).rem_euclid(2 * last);
    turn.min(2 * last - turn) as usize
}

/// How far something is there that comes up and fades.
fn fade(frame: usize, frames: usize) -> f32 {
    let from_end = (frame + 1).min(frames - frame) as f32;
    (from_end / (FADE + 1) as f32).min(1.0)
}

/// An ellipse around something of the donor, turned left to right and larger, on a way of its own
/// across what moves in the video.
pub(super) fn foreign(
    source: &Source<'_>,
    donor: &[Frame],
    slot: Slot,
    rng: &mut ChaCha8Rng,
) -> Option<Event> {
    let donors = Source::new(donor);
    let (mut from, mut through) = (donors.going(TRACK), source.going(TRACK));
    for _ in 0..40 {
        if let Some(event) = patch(source, &donors, slot, [&mut from, &mut through], rng) {
            return Some(event);
        }
    }
    None
}

fn patch<'a>(
    source: &Source<'_>,
    donors: &Source<'_>,
    slot: Slot,
    [from, through]: [&mut Vec<&'a Track>; 2],
    rng: &mut ChaCha8Rng,
) -> Option<Event> {
    if from.is_empty() || through.is_empty() {
        return None;
    }
    let track = from[rng.random_range(0..from.len())];
    let met = through[rng.random_range(0..through.len())];
    let met = &met.blobs[met.blobs.len() / 2];
    let side = source.frames[0].width() as f32;
    let scale = rng.random_range(1.15..1.6);
    let angle = rng.random_range(0.0..std::f32::consts::TAU);
    let speed = side * rng.random_range(0.008..0.016);
    let (dy, dx) = (speed * angle.sin() * 0.6, speed * angle.cos());
    let middle = slot.frames as f32 / 2.0;
    let changes = (0..slot.frames).map(|k| {
        let blob = &track.blobs[back_and_forth(k as f32, track.blobs.len())];
        let frame = track.first_frame + back_and_forth(k as f32, track.blobs.len());
        let radii = Spot {
            y: 0.75 * blob.height() as f32 + 1.0,
            x: 0.75 * (blob.right + 1 - blob.left) as f32 + 1.0,
        };
        let around = Spot { y: blob.y, x: blob.x };
        let sprite = Sprite::ellipse(&donors.frames[frame], around, radii);
        let step = k as f32 - middle;
        let at = Spot { y: met.y + dy * step, x: met.x + dx * step };
        let mut picture = Picture::over(&source.frames[slot.first_frame + k]);
        sprite.lay(&mut picture, Laid { at, scale, opacity: fade(k, slot.frames) });
        picture.finish()
    });
    shown(slot, changes.collect())
}
