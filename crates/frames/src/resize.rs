//! The one resizer, shared by training and serving.
//!
//! Written out because the exact rule matters and is small: the `image` crate and
//! `fast_image_resize` widen the bilinear kernel when they shrink (antialias), which gives other
//! pixels than the rule that the method and OpenCV's default use.
//!
//! Only the picking of pixels goes one by one. The arithmetic runs over whole rows, in two loops
//! that the compiler turns into vector instructions: of the baseline target, and once more for
//! processors with AVX2.

use multiversion::multiversion;
use protoguard_core::{CHANNELS, Frame};

/// Identifies the rule of [`resize`]; checkpoints record it.
pub const RESIZER: &str = "bilinear/half-pixel/no-antialias/u8/1";

/// Bits of a weight. Two passes of 11 bits and 8 bits of value fill 30 bits of an `i32`.
const BITS: u32 = 11;
const ONE: i16 = 1 << BITS;

/// `frame` at `side` × `side` pixels, aspect ignored: bilinear, half-pixel centres, no antialias,
/// edges clamped, rounded half up. A frame of that size is shared, not copied.
///
/// Output pixel `i` of an axis samples position `(i + 0.5) * input / side - 0.5`, as OpenCV's
/// `INTER_LINEAR`, and agrees with it within one grey level.
///
/// # Panics
/// When `side` is zero; [`protoguard_core::ClipShape`] has no such side.
pub fn resize(frame: &Frame, side: usize) -> Frame {
    if (frame.height(), frame.width()) == (side, side) {
        return frame.clone();
    }
    let mut across = Across::new(frame.width(), side);
    let down = Axis::new(frame.height(), side);
    let row_bytes = frame.width() * CHANNELS;
    let row = |y: usize| &frame.pixels()[y * row_bytes..][..row_bytes];

    // The two source rows of an output row, each already resized across; when magnifying, several
    // output rows share them.
    let mut upper = ResizedRow::new(side);
    let mut lower = ResizedRow::new(side);
    let mut pixels = vec![0; side * side * CHANNELS];
    for (y, out) in pixels.chunks_exact_mut(side * CHANNELS).enumerate() {
        let (first, second) = (down.first[y], down.second[y]);
        if lower.source == Some(first) {
            std::mem::swap(&mut upper, &mut lower);
        }
        upper.fill(first, row(first), &mut across);
        lower.fill(second, row(second), &mut across);
        blend(&upper.values, &lower.values, down.weight[y], out);
    }
    Frame::new(side, side, pixels).expect("a side of at least one pixel gives a whole frame")
}

/// For every output position the two input positions it lies between, and the weight of the
/// second in units of 1 / [`ONE`].
struct Axis {
    first: Vec<usize>,
    second: Vec<usize>,
    weight: Vec<i16>,
}

impl Axis {
    fn new(input: usize, output: usize) -> Self {
        let scale = input as f64 / output as f64;
        let last = input - 1;
        let position = |i: usize| ((i as f64 + 0.5) * scale - 0.5).clamp(0.0, last as f64);
        let weight = |i: usize| (position(i).fract() * f64::from(ONE)).round() as i16;
        Self {
            first: (0..output).map(|i| position(i) as usize).collect(),
            second: (0..output).map(|i| (position(i) as usize + 1).min(last)).collect(),
            weight: (0..output).map(weight).collect(),
        }
    }
}

/// Resizes rows across, with room for the pixels that a row's output lies between.
struct Across {
    axis: Axis,
    /// The axis's weights, one a channel value.
    weights: Vec<i16>,
    first: Vec<[u8; CHANNELS]>,
    second: Vec<[u8; CHANNELS]>,
}

impl Across {
    fn new(input: usize, output: usize) -> Self {
        let axis = Axis::new(input, output);
        let weights = axis.weight.iter().flat_map(|&weight| [weight; CHANNELS]).collect();
        let room = vec![[0; CHANNELS]; output];
        Self { axis, weights, first: room.clone(), second: room }
    }

    /// Writes `row` at the output's width, in units of 1 / [`ONE`].
    fn resize(&mut self, row: &[u8], out: &mut [i32]) {
        let (row, _) = row.as_chunks();
        let positions = self.axis.first.iter().zip(&self.axis.second);
        let picked = self.first.iter_mut().zip(&mut self.second);
        for ((first, second), (&from, &to)) in picked.zip(positions) {
            *first = row[from];
            *second = row[to];
        }
        weigh(self.first.as_flattened(), self.second.as_flattened(), &self.weights, out);
    }
}

/// One source row resized across: `side * 3` values in units of 1 / [`ONE`].
struct ResizedRow {
    source: Option<usize>,
    values: Vec<i32>,
}

impl ResizedRow {
    fn new(side: usize) -> Self {
        Self { source: None, values: vec![0; side * CHANNELS] }
    }

    fn fill(&mut self, source: usize, row: &[u8], across: &mut Across) {
        if self.source != Some(source) {
            self.source = Some(source);
            across.resize(row, &mut self.values);
        }
    }
}

/// Every value between two bytes of a row, in units of 1 / [`ONE`].
#[multiversion(targets("x86_64+avx2"))]
fn weigh(first: &[u8], second: &[u8], weights: &[i16], out: &mut [i32]) {
    let pairs = first.iter().zip(second).zip(weights);
    for (out, ((&a, &b), &weight)) in out.iter_mut().zip(pairs) {
        // A sum of two products of 16 bits is one vector instruction.
        *out = i32::from(a) * i32::from(ONE - weight) + i32::from(b) * i32::from(weight);
    }
}

/// Every byte between two rows.
#[multiversion(targets("x86_64+avx2"))]
fn blend(upper: &[i32], lower: &[i32], weight: i16, out: &mut [u8]) {
    let (rest, weight) = (i32::from(ONE - weight), i32::from(weight));
    let half = 1 << (2 * BITS - 1);
    for ((out, &a), &b) in out.iter_mut().zip(upper).zip(lower) {
        *out = ((a * rest + b * weight + half) >> (2 * BITS)) as u8;
    }
}
