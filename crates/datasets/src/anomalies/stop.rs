//! Something that moved stands still.

use protoguard_core::CHANNELS;
use rand::rngs::ChaCha8Rng;

use super::motion::{Source, Track};
use super::picture::Picture;
use super::place::{Slot, shown};
use super::plan::{Event, InsertPlan, draw};
use super::sprite::{Laid, Matte, Spot, Sprite};

/// Frames over which what stood fades into where it would have been.
const FADE: usize = 6;

/// Something of the video stands still: it is taken away along its track, the background shows
/// there, and it stays where it was when the event began.
pub(super) fn stopped(source: &Source<'_>, slot: Slot, rng: &mut ChaCha8Rng) -> Option<Event> {
    let [least, _] = InsertPlan::EVENT_FRAMES;
    let covers = |track: &&Track| {
        let (first, end) = (track.first_frame, track.first_frame + track.blobs.len());
        let (from, to) = (first.max(slot.first_frame - 1), end.min(slot.first_frame + slot.frames));
        to > from + least
    };
    let mut tracks = source.going(least + 1);
    tracks.retain(covers);
    while let Some(track) = draw(&mut tracks, rng) {
        if let Some(event) = stop(source, track, slot) {
            return Some(event);
        }
    }
    None
}

fn stop(source: &Source<'_>, track: &Track, slot: Slot) -> Option<Event> {
    let stands = track.first_frame.max(slot.first_frame - 1);
    let end = (track.first_frame + track.blobs.len()).min(slot.first_frame + slot.frames);
    let blob = &track.blobs[stands - track.first_frame];
    let sprite = Sprite::of(blob, &source.frames[stands]);
    // Somebody who hardly moves on meanwhile has not stopped.
    let last = &track.blobs[end - 1 - track.first_frame];
    let size = blob.height().max(blob.right + 1 - blob.left) as f32;
    if (last.y - blob.y).hypot(last.x - blob.x) < 0.4 * size {
        return None;
    }
    let changes = (stands + 1..end).map(|frame| {
        let mut picture = Picture::over(&source.frames[frame]);
        let opacity = ((end - frame) as f32 / (FADE + 1) as f32).min(1.0);
        take_away(source, track, frame, opacity, &mut picture);
        let at = Spot { y: blob.y, x: blob.x };
        sprite.lay(&mut picture, Laid { at, scale: 1.0, opacity });
        picture.finish()
    });
    shown(Slot { first_frame: stands + 1, frames: end - stands - 1 }, changes.collect())
}

/// Lays the background, in the frame's light, over the track's blob.
fn take_away(
    source: &Source<'_>,
    track: &Track,
    frame: usize,
    opacity: f32,
    picture: &mut Picture<'_>,
) {
    let blob = &track.blobs[frame - track.first_frame];
    let matte = Matte::around(blob, &source.frames[frame], 2);
    let light = source.light(frame);
    for (at, own) in matte.opacity.iter().enumerate().filter(|&(_, &own)| own > 0.0) {
        let (y, x) = (matte.top + at / matte.width, matte.left + at % matte.width);
        let place = (y * picture.width() + x) * CHANNELS;
        let colour = std::array::from_fn(|channel| source.background[place + channel] + light);
        picture.blend(y, x, colour, own * opacity);
    }
}
