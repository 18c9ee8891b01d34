//! What one picture looks like as a whole.

use std::ops::Range;

use crate::{CHANNELS, Frame};

/// Squares of a [`Look::layout`] in a row, and rows of them.
pub(super) const LAYOUT: usize = 16;

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
pub(super) fn luma(pixel: &[u8]) -> u8 {
    let [red, green, blue] = [0, 1, 2].map(|at| u32::from(pixel[at]));
    // The weights are 256 together, so that the sum's highest byte is a level.
    ((54 * red + 183 * green + 19 * blue + 128) >> 8) as u8
}

/// Difference of the largest and the smallest of a pixel's values.
fn spread(pixel: &[u8]) -> u8 {
    let (red, green, blue) = (pixel[0], pixel[1], pixel[2]);
    red.max(green).max(blue) - red.min(green).min(blue)
}

pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
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
    pub(super) fn likeness(&self, other: &[f64]) -> f64 {
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
