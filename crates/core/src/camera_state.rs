//! What is wrong with a picture whatever happens in it: a camera that is frozen, dark, blind,
//! blurred, covered, moved or without colour.
//!
//! A model predicts a black or frozen picture perfectly, so that nothing is more normal to it. What
//! a picture looks like as a whole is measured apart from any model, and held against how the
//! camera looked on its normal video.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::normalise::quantile;
use crate::{CHANNELS, Frame};

/// Squares of a [`Look::layout`] in a row, and rows of them.
const LAYOUT: usize = 16;
/// A picture whose values differ by less than this on average is the one before it again, in
/// levels of 8 bits.
const SAME: f64 = 0.01;
/// Share of normal frames that may lie beyond a bound before its margin.
const TAIL: f64 = 0.001;
/// A state is entered, and left, when so many frames in a row say so.
const FRAMES: usize = 5;
/// The fewest unchanged frames in a row that are a frozen picture.
const FROZEN: usize = 20;

/// What one frame looks like as a whole, in levels of 8 bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Mean luma.
    pub brightness: f64,
    /// Standard deviation of the luma.
    pub contrast: f64,
    /// Mean absolute difference of neighbouring pixels' luma, over the contrast: what blur takes.
    pub sharpness: f64,
    /// Mean difference of the largest and the smallest of a pixel's three values.
    pub colour: f64,
    /// Mean absolute difference to the frame before; absent for the first.
    pub change: Option<f64>,
    /// Mean luma of 16 × 16 squares, row after row: where things stand.
    pub layout: Vec<f64>,
}

/// Luma of a pixel by the weights of ITU-R BT.709, in whole levels.
fn luma(pixel: &[u8]) -> u8 {
    let [red, green, blue] = [0, 1, 2].map(|at| u32::from(pixel[at]));
    // The weights are 256 together, so that the sum's highest byte is a level.
    ((54 * red + 183 * green + 19 * blue + 128) >> 8) as u8
}

/// Difference of the largest and the smallest of a pixel's values.
fn spread(pixel: &[u8]) -> u8 {
    let (red, green, blue) = (pixel[0], pixel[1], pixel[2]);
    red.max(green).max(blue) - red.min(green).min(blue)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / f64::max(count, 1.0)
}

/// The rows, or columns, of a square of the layout, of so many.
fn places(square: usize, of: usize) -> Range<usize> {
    // Those whose index over `of` is in the square's sixteenth.
    (square * of).div_ceil(LAYOUT)..((square + 1) * of).div_ceil(LAYOUT)
}

#[derive(Clone, Copy)]
struct Geometry {
    height: usize,
    width: usize,
    has_before: bool,
}

/// Sums over a frame, row by row, in whole numbers: a row's fit 32 bits, so that many pixels are
/// summed at once.
#[derive(Default)]
struct Sums {
    luma: u64,
    squares: u64,
    steps: u64,
    colour: u64,
    change: u64,
}

fn sum(values: impl Iterator<Item = u32>) -> u64 {
    values.sum::<u32>().into()
}

/// Sum of the absolute differences of two rows.
fn difference(one: &[u8], two: &[u8]) -> u64 {
    sum(one.iter().zip(two).map(|(one, two)| one.abs_diff(*two).into()))
}

impl Sums {
    fn add_luma(&mut self, row: &[u8], above: Option<&[u8]>) {
        self.luma += sum(row.iter().map(|&level| level.into()));
        self.squares += sum(row.iter().map(|&level| u32::from(level) * u32::from(level)));
        self.steps += difference(row, row.get(1..).unwrap_or_default());
        self.steps += above.map_or(0, |above| difference(row, above));
    }
}

impl Look {
    /// Measures a frame beside the one before it, of the same size and at most 65 536 pixels wide.
    pub fn of(frame: &Frame, before: Option<&Frame>) -> Self {
        let (height, width) = (frame.height(), frame.width());
        let bytes = width * CHANNELS;
        let mut sums = Sums::default();
        let (mut row, mut above) = (vec![0; width], vec![0; width]);
        let mut squares = [0; LAYOUT * LAYOUT];
        for (y, pixels) in frame.pixels().chunks_exact(bytes.max(1)).enumerate() {
            std::mem::swap(&mut row, &mut above);
            for (level, pixel) in row.iter_mut().zip(pixels.chunks_exact(CHANNELS)) {
                *level = luma(pixel);
            }
            sums.colour += sum(pixels.chunks_exact(CHANNELS).map(|pixel| spread(pixel).into()));
            sums.add_luma(&row, (y > 0).then_some(&above));
            if let Some(before) = before {
                sums.change += difference(pixels, &before.pixels()[y * bytes..][..bytes]);
            }
            let of_row = &mut squares[y * LAYOUT / height * LAYOUT..][..LAYOUT];
            for (left, square) in of_row.iter_mut().enumerate() {
                *square += sum(row[places(left, width)].iter().map(|&level| level.into()));
            }
        }
        Self::from_sums(&sums, &squares, Geometry { height, width, has_before: before.is_some() })
    }

    fn from_sums(sums: &Sums, squares: &[u64], geometry: Geometry) -> Self {
        let Geometry { height, width, has_before } = geometry;
        let share = |sum: u64, of: usize| sum as f64 / of.max(1) as f64;
        let pixels = height * width;
        let brightness = share(sums.luma, pixels);
        let contrast = (share(sums.squares, pixels) - brightness.powi(2)).max(0.0).sqrt();
        let neighbours = height * width.saturating_sub(1) + height.saturating_sub(1) * width;
        let step = share(sums.steps, neighbours);
        let square = |(index, &sum): (usize, &u64)| {
            share(sum, places(index / LAYOUT, height).len() * places(index % LAYOUT, width).len())
        };
        Self {
            brightness,
            contrast,
            sharpness: if contrast > 0.0 { step / contrast } else { 0.0 },
            colour: share(sums.colour, pixels),
            change: has_before.then(|| share(sums.change, pixels * CHANNELS)),
            layout: squares.iter().enumerate().map(square).collect(),
        }
    }

    /// Pearson correlation of the layout's relief with another's, in [-1, 1]: light that changes
    /// everywhere alike leaves it as it is. 0 where one has none.
    fn likeness(&self, other: &[f64]) -> f64 {
        let [one, other] = [self.layout.as_slice(), other].map(relief);
        let product = |a: &[f64], b: &[f64]| mean(a.iter().zip(b).map(|(a, b)| a * b));
        let size = (product(&one, &one) * product(&other, &other)).sqrt();
        if size > 0.0 { product(&one, &other) / size } else { 0.0 }
    }
}

/// How much brighter each square of a layout is than the nine around and in it, less what all are: a
/// ceiling of lamps over a floor is alike wherever a camera looks, and edges are not.
fn relief(layout: &[f64]) -> Vec<f64> {
    let near = |at: usize| at.saturating_sub(1)..(at + 2).min(LAYOUT);
    let square = |at: usize| {
        let (y, x) = (at / LAYOUT, at % LAYOUT);
        let around = near(y).flat_map(|y| near(x).map(move |x| y * LAYOUT + x));
        // A file's layout may be of another size.
        layout[at] - mean(around.filter_map(|at| layout.get(at)).copied())
    };
    let steps: Vec<f64> = (0..layout.len()).map(square).collect();
    let all = mean(steps.iter().copied());
    steps.into_iter().map(|step| step - all).collect()
}

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
            (look.colour < self.least_colour / 4.0, CameraState::ColourLost),
        ];
        states.into_iter().find(|(is, _)| *is).map(|(_, state)| state)
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
    bounds: CameraBounds,
    state: Option<CameraState>,
    /// What the last frames said instead, and how many of them.
    instead: Option<CameraState>,
    frames: usize,
    still: usize,
}

impl CameraWatch {
    /// A watch that has seen nothing.
    pub fn new(bounds: CameraBounds) -> Self {
        Self { bounds, state: None, instead: None, frames: 0, still: 0 }
    }

    /// Takes the next frame's look; the state from that frame on, nothing while all is well.
    pub fn push(&mut self, look: &Look) -> Option<CameraState> {
        self.still = if is_same(look) { self.still + 1 } else { 0 };
        let frozen = self.still >= self.bounds.frozen_after();
        let said = self.bounds.judge(look).or(frozen.then_some(CameraState::Frozen));
        if said == self.state {
            self.frames = 0;
            return self.state;
        }
        self.frames = if said == self.instead { self.frames + 1 } else { 1 };
        self.instead = said;
        // A frozen picture has been waited for already.
        if self.frames >= FRAMES || said == Some(CameraState::Frozen) {
            (self.state, self.frames) = (said, 0);
        }
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 64;

    /// A street: a bright wall above, dark road below, with a texture, and something that passes.
    fn street(at: usize) -> Vec<u8> {
        let pixel = |index: usize| {
            let (y, x) = (index / SIDE, index % SIDE);
            let base = if y < 24 { [150, 120, 100] } else { [60, 70, 60] };
            let texture = ((x * 7 + y * 13) % 11) as u8;
            let passes = y > 40 && y < 50 && x.abs_diff(at % SIDE) < 3;
            let noise = ((x * 31 + y * 17 + at * 7) % 3) as u8;
            base.map(|level: u8| level + texture + noise + if passes { 90 } else { 0 })
        };
        (0..SIDE * SIDE).flat_map(pixel).collect()
    }

    fn looks(frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<Look> {
        let mut before: Option<Frame> = None;
        let look = |pixels: Vec<u8>| {
            let frame = Frame::new(SIDE, SIDE, pixels).unwrap();
            let look = Look::of(&frame, before.as_ref());
            before = Some(frame);
            look
        };
        frames.into_iter().map(look).collect()
    }

    fn watch() -> CameraWatch {
        CameraWatch::new(CameraBounds::of(&[looks((0..300).map(street))]).unwrap())
    }

    /// The state after so many frames of a picture that was changed.
    fn after(frames: usize, change: impl Fn(Vec<u8>) -> Vec<u8>) -> Option<CameraState> {
        let mut watch = watch();
        let looks = looks((0..frames).map(|at| change(street(at))));
        looks.iter().map(|look| watch.push(look)).last().unwrap()
    }

    fn every(change: impl Fn(f64) -> f64) -> impl Fn(Vec<u8>) -> Vec<u8> {
        move |pixels| pixels.into_iter().map(|it| change(f64::from(it)) as u8).collect()
    }

    fn blurred(pixels: Vec<u8>) -> Vec<u8> {
        let level = |index: usize| {
            let (at, channel) = (index / CHANNELS, index % CHANNELS);
            let (y, x) = (at / SIDE, at % SIDE);
            let rows = y.saturating_sub(5)..(y + 6).min(SIDE);
            let near = rows.flat_map(|y| {
                (x.saturating_sub(5)..(x + 6).min(SIDE)).map(move |x| (y * SIDE + x) * CHANNELS)
            });
            mean(near.map(|at| f64::from(pixels[at + channel]))) as u8
        };
        (0..pixels.len()).map(level).collect()
    }

    #[test]
    fn each_fault_has_its_state_and_normal_video_none() {
        use CameraState::{Blurred, Bright, ColourLost, Covered, Dark, Moved};
        assert_eq!(after(300, |pixels| pixels), None);
        assert_eq!(after(9, every(|level| level * 0.1)), Some(Dark));
        assert_eq!(after(9, every(|level| 255.0 - 0.2 * (255.0 - level))), Some(Bright));
        assert_eq!(after(9, every(|level| 90.0 + 0.1 * (level - 90.0))), Some(Covered));
        assert_eq!(after(9, blurred), Some(Blurred));
        let turned = |pixels: Vec<u8>| pixels.chunks(CHANNELS).rev().flatten().copied().collect();
        assert_eq!(after(9, turned), Some(Moved));
        let gray = |pixels: Vec<u8>| {
            let gray = |pixel: &[u8]| [luma(pixel); CHANNELS];
            pixels.chunks(CHANNELS).flat_map(gray).collect()
        };
        assert_eq!(after(9, gray), Some(ColourLost));
        // Half the light is an evening.
        assert_eq!(after(9, every(|level| level * 0.6)), None);
    }

    #[test]
    fn a_camera_that_is_black_from_its_first_frame_is_dark() {
        let mut watch = watch();
        let black = looks((0..6).map(|_| vec![0; SIDE * SIDE * CHANNELS]));
        let states: Vec<_> = black.iter().map(|look| watch.push(look)).collect();
        assert_eq!(states[3..], [None, Some(CameraState::Dark), Some(CameraState::Dark)]);
    }

    #[test]
    fn a_picture_that_stands_still_is_frozen_and_wakes_up() {
        let mut watch = watch();
        let frames = (0..3).chain([3; 25]).chain(4..12).map(street);
        let states: Vec<_> = looks(frames).iter().map(|look| watch.push(look)).collect();
        // 3 and its twenty repetitions.
        assert!(states[..23].iter().all(Option::is_none), "{states:?}");
        assert!(states[23..28].iter().all(|it| *it == Some(CameraState::Frozen)), "{states:?}");
        assert_eq!(states[35], None);
    }

    #[test]
    fn video_that_often_stands_still_is_allowed_to() {
        let still = looks((0..10).flat_map(|at| [at; 40]).map(street));
        let bounds = CameraBounds::of(&[still]).unwrap();
        assert_eq!(bounds.longest_still, 39);
        let mut watch = CameraWatch::new(bounds);
        let states = looks([street(0)].into_iter().chain((0..60).map(|_| street(1))));
        assert!(states.iter().all(|look| watch.push(look).is_none()));
    }

    #[test]
    fn a_state_is_neither_entered_nor_left_by_a_single_frame() {
        let mut watch = watch();
        let black = || vec![0; SIDE * SIDE * CHANNELS];
        let frames = [street(0), black(), street(2), street(3)];
        assert!(looks(frames).iter().all(|look| watch.push(look).is_none()));
        let dark: Vec<_> = (0..6).map(|_| black()).chain([street(1)]).collect();
        let last = looks(dark).iter().map(|look| watch.push(look)).last().unwrap();
        assert_eq!(last, Some(CameraState::Dark));
    }

    #[test]
    fn without_video_there_are_no_bounds() {
        assert_eq!(CameraBounds::of(&[]), None);
        assert_eq!(CameraBounds::of(&[vec![]]), None);
    }
}
