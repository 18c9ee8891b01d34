//! Shapes with soft edges on a picture of floats.

use protoguard_core::Frame;

use super::ground::Ground;

/// Red, green, blue in grey levels.
pub(super) type Rgb = [f32; 3];

/// A position in pixels, x to the right and y down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) x: f32,
    pub(super) y: f32,
}

pub(super) fn point(x: f32, y: f32) -> Point {
    Point { x, y }
}

impl Point {
    /// The point `length` away at `angle` radians from straight down, positive to the right.
    pub(super) fn hang(self, length: f32, angle: f32) -> Self {
        point(self.x + length * angle.sin(), self.y + length * angle.cos())
    }
}

/// What a shape is filled with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Paint {
    Plain(Rgb),
    /// Horizontal stripes of `period` pixels, counted from `origin`.
    Stripes {
        colours: [Rgb; 2],
        period: f32,
        origin: f32,
    },
    /// Black over what is there, at this opacity.
    Shade(f32),
}

/// Pixels a shape's edge is spread over: what a lens does, and what keeps edges from flickering
/// when the resizer skips pixels.
const EDGE: f32 = 1.4;

/// A picture being drawn: `[height, width, 3]` grey levels.
pub(super) struct Canvas {
    height: usize,
    width: usize,
    pub(super) values: Vec<f32>,
}

impl Canvas {
    pub(super) fn over(ground: &Ground) -> Self {
        Self { height: ground.height, width: ground.width, values: ground.values.clone() }
    }

    /// Over a frame that is not drawn.
    pub(super) fn over_frame(frame: &Frame) -> Self {
        let values = frame.pixels().iter().map(|&value| f32::from(value)).collect();
        Self { height: frame.height(), width: frame.width(), values }
    }

    /// A line of `radius` around the segment from `a` to `b`, with round ends.
    pub(super) fn limb(&mut self, ends: [Point; 2], radius: f32, paint: Paint) {
        let [a, b] = ends;
        let (dx, dy) = (b.x - a.x, b.y - a.y);
        let length = (dx * dx + dy * dy).max(1e-6);
        let low = point(a.x.min(b.x) - radius, a.y.min(b.y) - radius);
        let high = point(a.x.max(b.x) + radius, a.y.max(b.y) + radius);
        self.fill([low, high], paint, |x, y| {
            let along = (((x - a.x) * dx + (y - a.y) * dy) / length).clamp(0.0, 1.0);
            (x - a.x - along * dx).hypot(y - a.y - along * dy) - radius
        });
    }

    /// An upright ellipse.
    pub(super) fn ellipse(&mut self, centre: Point, radii: Point, paint: Paint) {
        let low = point(centre.x - radii.x, centre.y - radii.y);
        let high = point(centre.x + radii.x, centre.y + radii.y);
        self.fill([low, high], paint, |x, y| {
            let distance = ((x - centre.x) / radii.x).hypot((y - centre.y) / radii.y);
            (distance - 1.0) * radii.x.min(radii.y)
        });
    }

    /// A circle line.
    pub(super) fn ring(&mut self, centre: Point, radius: f32, thickness: f32, paint: Paint) {
        let reach = radius + thickness;
        let low = point(centre.x - reach, centre.y - reach);
        let high = point(centre.x + reach, centre.y + reach);
        self.fill([low, high], paint, |x, y| {
            ((x - centre.x).hypot(y - centre.y) - radius).abs() - thickness / 2.0
        });
    }

    /// An upright rectangle between two corners.
    pub(super) fn block(&mut self, corners: [Point; 2], paint: Paint) {
        let [low, high] = corners;
        self.fill(corners, paint, |x, y| {
            (low.x - x).max(x - high.x).max(low.y - y).max(y - high.y)
        });
    }

    /// Fills where `distance`, in pixels and negative inside, falls below zero.
    fn fill(&mut self, bounds: [Point; 2], paint: Paint, distance: impl Fn(f32, f32) -> f32) {
        let [low, high] = bounds;
        let first = |value: f32| (value - EDGE).floor().max(0.0) as usize;
        let last = |value: f32, end: usize| ((value + EDGE).ceil().max(0.0) as usize).min(end);
        for y in first(low.y)..last(high.y, self.height) {
            for x in first(low.x)..last(high.x, self.width) {
                let (px, py) = (x as f32 + 0.5, y as f32 + 0.5);
                let cover = (0.5 - distance(px, py) / EDGE).clamp(0.0, 1.0);
                if cover > 0.0 {
                    let at = (y * self.width + x) * 3;
                    paint.cover(&mut self.values[at..at + 3], cover, py);
                }
            }
        }
    }
}

impl Paint {
    fn cover(self, pixel: &mut [f32], cover: f32, y: f32) {
        let (colour, cover) = match self {
            Self::Plain(colour) => (colour, cover),
            Self::Shade(opacity) => ([0.0; 3], cover * opacity),
            Self::Stripes { colours: [a, b], period, origin } => {
                // A soft wave instead of a hard edge, for the same reason as `EDGE`.
                let wave = ((y - origin) / period * std::f32::consts::TAU).sin();
                let share = (0.5 + wave * 1.2).clamp(0.0, 1.0);
                (std::array::from_fn(|c| a[c] + (b[c] - a[c]) * share), cover)
            }
        };
        for (value, colour) in pixel.iter_mut().zip(colour) {
            *value += (colour - *value) * cover;
        }
    }
}
