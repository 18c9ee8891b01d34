//! What moves in a video of a fixed camera: the background, what differs from it, and its tracks.

use protoguard_core::{CHANNELS, Components, Frame, Mask};
use rayon::prelude::*;

/// Frames that the background is the median of, at most.
const SAMPLES: usize = 31;
/// Grey levels by which a pixel differs from the background, averaged over its neighbours.
const DIFFERS: f32 = 14.0;

/// A video, its background and its tracks.
pub(super) struct Source<'a> {
    pub(super) frames: &'a [Frame],
    /// `[height, width, 3]` grey levels.
    pub(super) background: Vec<f32>,
    pub(super) tracks: Vec<Track>,
}

/// Something that moves, a blob a frame.
pub(super) struct Track {
    pub(super) first_frame: usize,
    pub(super) blobs: Vec<Blob>,
}

/// What differs from the background in one place.
pub(super) struct Blob {
    /// Positions in the frame, `y * width + x`.
    pub(super) pixels: Vec<usize>,
    pub(super) top: usize,
    pub(super) bottom: usize,
    pub(super) left: usize,
    pub(super) right: usize,
    /// Mean position.
    pub(super) y: f32,
    pub(super) x: f32,
    /// The track's blob of the frame before, while tracks are put together.
    before: Option<usize>,
}

impl Source<'_> {
    pub(super) fn new(frames: &[Frame]) -> Source<'_> {
        let background = median(frames);
        let blobs: Vec<Vec<Blob>> = Moving { frames, background: &background }.blobs();
        Source { frames, background, tracks: tracks(blobs) }
    }

    /// The fewest pixels that count as something: a person far away.
    pub(super) fn least_pixels(&self) -> usize {
        least_pixels(&self.frames[0])
    }

    /// Tracks of at least so many frames that go somewhere: of single things where there are any,
    /// otherwise of crowds that move as one.
    pub(super) fn going(&self, frames: usize) -> Vec<&Track> {
        let (height, width) = (self.frames[0].height(), self.frames[0].width());
        let far = 0.0015 * height.min(width) as f32 * frames as f32;
        let going = |track: &&Track| {
            let something = track.pixels() >= self.least_pixels();
            track.blobs.len() >= frames && something && track.way().hypot() >= far
        };
        let going: Vec<&Track> = self.tracks.iter().filter(going).collect();
        let single = |track: &&&Track| track.pixels() <= height * width / 64;
        let single: Vec<&Track> = going.iter().filter(single).copied().collect();
        if single.is_empty() { going } else { single }
    }

    /// How much brighter a frame is than the background, in grey levels: the median over pixels.
    pub(super) fn light(&self, frame: usize) -> f32 {
        light(&self.frames[frame], &self.background)
    }
}

/// A distance in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) y: f32,
    pub(super) x: f32,
}

impl Way {
    pub(super) fn hypot(self) -> f32 {
        self.y.hypot(self.x)
    }
}

impl Track {
    /// From the first blob to the last.
    pub(super) fn way(&self) -> Way {
        let (first, last) = (&self.blobs[0], &self.blobs[self.blobs.len() - 1]);
        Way { y: last.y - first.y, x: last.x - first.x }
    }

    /// Pixels of the largest blob.
    fn pixels(&self) -> usize {
        self.blobs.iter().map(|blob| blob.pixels.len()).max().unwrap_or_default()
    }

    /// Pixels a frame on the whole.
    pub(super) fn speed(&self) -> Way {
        let (way, frames) = (self.way(), (self.blobs.len() - 1).max(1) as f32);
        Way { y: way.y / frames, x: way.x / frames }
    }
}

impl Blob {
    pub(super) fn height(&self) -> usize {
        self.bottom + 1 - self.top
    }
}

fn least_pixels(frame: &Frame) -> usize {
    (frame.height() * frame.width() / 600).max(6)
}

fn median(frames: &[Frame]) -> Vec<f32> {
    let step = frames.len().div_ceil(SAMPLES).max(1);
    let samples: Vec<&[u8]> = frames.iter().step_by(step).map(Frame::pixels).collect();
    let value = |at: usize| {
        let mut values: Vec<u8> = samples.iter().map(|pixels| pixels[at]).collect();
        values.sort_unstable();
        f32::from(values[values.len() / 2])
    };
    (0..samples[0].len()).into_par_iter().map(value).collect()
}

fn light(frame: &Frame, background: &[f32]) -> f32 {
    let pairs = frame.pixels().iter().zip(background);
    let mut differences: Vec<f32> = pairs.map(|(&now, then)| f32::from(now) - then).collect();
    let middle = differences.len() / 2;
    *differences.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// Frames and the background that things move over.
struct Moving<'a> {
    frames: &'a [Frame],
    background: &'a [f32],
}

impl Moving<'_> {
    /// By frame, in no particular order, each linked with one of the frame before.
    fn blobs(&self) -> Vec<Vec<Blob>> {
        let components: Vec<Components> =
            self.frames.par_iter().map(|frame| Components::of(&self.mask(frame))).collect();
        let mut all: Vec<Vec<Blob>> = components
            .par_iter()
            .zip(self.frames)
            .map(|(components, frame)| blobs(components, frame.width()))
            .collect();
        for (frame, pair) in components.windows(2).enumerate() {
            let mut overlaps = pair[1].overlaps(&pair[0]);
            overlaps.sort_by_key(|overlap| std::cmp::Reverse(overlap.pixels));
            let mut taken = vec![false; pair[0].pixels().len()];
            for overlap in overlaps {
                let (now, then) = (pair[1].pixels()[overlap.mine], pair[0].pixels()[overlap.other]);
                // What grows or shrinks by half within a frame has met or left something.
                let like = 2 * now.max(then) <= 3 * now.min(then);
                let before = &mut all[frame + 1][overlap.mine].before;
                if like && before.is_none() && !taken[overlap.other] {
                    *before = Some(overlap.other);
                    taken[overlap.other] = true;
                }
            }
        }
        all
    }

    /// Where a frame differs from the background, apart from its light.
    fn mask(&self, frame: &Frame) -> Mask {
        let (height, width) = (frame.height(), frame.width());
        let light = light(frame, self.background);
        let pairs = frame.pixels().chunks_exact(CHANNELS).zip(self.background.chunks(CHANNELS));
        let difference = pairs.map(|(now, then)| {
            let channels = now.iter().zip(then);
            channels.map(|(&now, then)| (f32::from(now) - then - light).abs()).fold(0.0, f32::max)
        });
        let difference: Vec<f32> = difference.collect();
        let smooth = box_mean(&difference, width);
        Mask::from_fn(height, width, |y, x| smooth[y * width + x] >= DIFFERS)
    }
}

/// Every value's mean with its neighbours', row after row of `width`.
pub(super) fn box_mean(values: &[f32], width: usize) -> Vec<f32> {
    let height = values.len() / width;
    let mean = |at: usize| {
        let (y, x) = (at / width, at % width);
        let (mut sum, mut count) = (0.0, 0.0);
        for y in y.saturating_sub(1)..=(y + 1).min(height - 1) {
            for x in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                sum += values[y * width + x];
                count += 1.0;
            }
        }
        sum / count
    };
    (0..values.len()).map(mean).collect()
}

fn blobs(components: &Components, width: usize) -> Vec<Blob> {
    let mut pixels: Vec<Vec<usize>> = vec![Vec::new(); components.pixels().len()];
    for pixel in components.marked() {
        pixels[pixel.component].push(pixel.y * width + pixel.x);
    }
    let blob = |pixels: Vec<usize>| {
        let rows = || pixels.iter().map(|at| at / width);
        let columns = || pixels.iter().map(|at| at % width);
        let count = pixels.len() as f32;
        Blob {
            top: rows().min().unwrap_or_default(),
            bottom: rows().max().unwrap_or_default(),
            left: columns().min().unwrap_or_default(),
            right: columns().max().unwrap_or_default(),
            y: rows().sum::<usize>() as f32 / count,
            x: columns().sum::<usize>() as f32 / count,
            before: None,
            pixels,
        }
    };
    pixels.into_iter().map(blob).collect()
}

/// Puts linked blobs together.
fn tracks(by_frame: Vec<Vec<Blob>>) -> Vec<Track> {
    let mut tracks: Vec<Track> = Vec::new();
    // The track of every blob of the frame before.
    let mut open: Vec<usize> = Vec::new();
    for (frame, blobs) in by_frame.into_iter().enumerate() {
        let mut now = Vec::with_capacity(blobs.len());
        for blob in blobs {
            let track = blob.before.map(|before| open[before]).unwrap_or_else(|| {
                tracks.push(Track { first_frame: frame, blobs: Vec::new() });
                tracks.len() - 1
            });
            tracks[track].blobs.push(blob);
            now.push(track);
        }
        open = now;
    }
    tracks
}
