//! Things that pass through the picture: seen before, faster or backwards, or from elsewhere.

use protoguard_core::Frame;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::motion::{Source, Track};
use super::picture::Picture;
use super::place::{Slot, shown};
use super::plan::{Event, InsertPlan, draw};
use super::sprite::{Laid, Spot, Sprite};

/// Frames over which something comes up or fades that does not come in at an edge.
const FADE: usize = 4;

/// The fewest frames of a track that things are cut out along.
const TRACK: usize = 20;

/// A track once more, two to four times as fast, and on beyond its end.
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
/// back and forth. What is out of the picture before an event is long enough comes again, the next
/// before the last has left.
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
    let inside = |&k: &usize| spot(track, position(k)).is_in(&source.frames[0]);
    let stays = (0..slot.frames).take_while(inside).count();
    let [least, _] = InsertPlan::EVENT_FRAMES;
    let period = if stays > least + FADE { slot.frames } else { (stays * 7 / 10).max(4) };
    let changes = (0..slot.frames).map(|k| {
        let mut picture = Picture::over(&source.frames[slot.first_frame + k]);
        for age in (0..=k).filter(|age| (k - age) % period == 0) {
            let position = position(age);
            let opacity = fade(age, age + slot.frames - k);
            let laid = Laid { at: spot(track, position), scale: 1.0, opacity };
            sprites[back_and_forth(position, sprites.len())].lay(&mut picture, laid);
        }
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

/// Something of the donor, turned left to right and larger, on a way of its own across where
/// something moves in the video. It is cut out as closely as all else: a patch of the ground with
/// it would be found by its rim.
pub(super) fn foreign(
    source: &Source<'_>,
    donor: &[Frame],
    slot: Slot,
    rng: &mut ChaCha8Rng,
) -> Option<Event> {
    let donors = Source::new(donor);
    let (from, through) = (donors.going(TRACK), source.going(TRACK));
    if from.is_empty() || through.is_empty() {
        return None;
    }
    (0..40).find_map(|_| {
        let track = from[rng.random_range(0..from.len())];
        let met = through[rng.random_range(0..through.len())];
        let met = &met.blobs[met.blobs.len() / 2];
        let side = source.frames[0].width() as f32;
        let angle = rng.random_range(0.0..std::f32::consts::TAU);
        let speed = side * rng.random_range(0.008..0.016);
        let way = ForeignWay {
            scale: rng.random_range(1.2..1.7),
            middle: Spot { y: met.y, x: met.x },
            speed: Spot { y: speed * angle.sin() * 0.6, x: speed * angle.cos() },
        };
        let sprite = |(frame, blob)| Sprite::of(blob, &donors.frames[frame]).turned();
        let sprites: Vec<Sprite> = (track.first_frame..).zip(&track.blobs).map(sprite).collect();
        way.go(source, slot, &sprites)
    })
}

/// A straight way, its middle in the middle of the slot; pixels and pixels a frame.
struct ForeignWay {
    scale: f32,
    middle: Spot,
    speed: Spot,
}

impl ForeignWay {
    fn go(&self, source: &Source<'_>, slot: Slot, sprites: &[Sprite]) -> Option<Event> {
        let changes = (0..slot.frames).map(|k| {
            let step = k as f32 - slot.frames as f32 / 2.0;
            let at = Spot {
                y: self.middle.y + self.speed.y * step,
                x: self.middle.x + self.speed.x * step,
            };
            let mut picture = Picture::over(&source.frames[slot.first_frame + k]);
            let laid = Laid { at, scale: self.scale, opacity: fade(k, slot.frames) };
            sprites[back_and_forth(k as f32, sprites.len())].lay(&mut picture, laid);
            picture.finish()
        });
        shown(slot, changes.collect())
    }
}
