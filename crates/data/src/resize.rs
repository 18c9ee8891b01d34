//! The one resizer, shared by training and serving.
//!
//! Written out because the exact rule matters and is small: the `image` crate and
//! `fast_image_resize` widen the bilinear kernel when they shrink (antialias), which gives other
//! pixels than the rule that the method and OpenCV's default use.

use protoguard_core::{CHANNELS, Frame};

/// Identifies the rule of [`resize`]; checkpoints record it.
pub const RESIZER: &str = "bilinear/half-pixel/no-antialias/u8/1";

/// Bits of a weight. Two passes of 11 bits and 8 bits of value fill 30 bits of an `i32`.
const BITS: u32 = 11;
const ONE: i32 = 1 << BITS;

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
    let across = Axis::new(frame.width(), side).by_channel();
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
        upper.fill(first, row(first), &across);
        lower.fill(second, row(second), &across);
        blend(&upper.values, &lower.values, down.weight[y], out);
    }
    Frame::new(side, side, pixels).expect("a side of at least one pixel gives a whole frame")
}

/// For every output position the two input positions it lies between, and the weight of the
/// second in units of [`ONE`].
struct Axis {
    first: Vec<usize>,
    second: Vec<usize>,
    weight: Vec<i32>,
}

impl Axis {
    fn new(input: usize, output: usize) -> Self {
        let scale = input as f64 / output as f64;
        let last = input - 1;
        let position = |i: usize| ((i as f64 + 0.5) * scale - 0.5).clamp(0.0, last as f64);
        let weight = |i: usize| (position(i).fract() * f64::from(ONE)).round() as i32;
        Self {
            first: (0..output).map(|i| position(i) as usize).collect(),
            second: (0..output).map(|i| (position(i) as usize + 1).min(last)).collect(),
            weight: (0..output).map(weight).collect(),
        }
    }

    /// The same axis over interleaved channel values instead of pixels.
    fn by_channel(&self) -> Self {
        let spread = |positions: &[usize]| {
            positions.iter().flat_map(|p| (0..CHANNELS).map(move |c| p * CHANNELS + c)).collect()
        };
        Self {
            first: spread(&self.first),
            second: spread(&self.second),
            weight: self.weight.iter().flat_map(|&w| [w; CHANNELS]).collect(),
        }
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

    fn fill(&mut self, source: usize, row: &[u8], across: &Axis) {
        if self.source == Some(source) {
            return;
        }
        self.source = Some(source);
        let taps = across.first.iter().zip(&across.second).zip(&across.weight);
        for (value, ((&first, &second), &weight)) in self.values.iter_mut().zip(taps) {
            let (a, b) = (i32::from(row[first]), i32::from(row[second]));
            *value = a * ONE + (b - a) * weight;
        }
    }
}

fn blend(upper: &[i32], lower: &[i32], weight: i32, out: &mut [u8]) {
    let half = 1 << (2 * BITS - 1);
    for ((out, &a), &b) in out.iter_mut().zip(upper).zip(lower) {
        *out = ((a * (ONE - weight) + b * weight + half) >> (2 * BITS)) as u8;
    }
}
