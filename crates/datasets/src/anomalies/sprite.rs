//! Something that is cut out of frames and laid into others.

use protoguard_core::{CHANNELS, Frame};

use super::motion::{Blob, box_mean};
use super::picture::Picture;

/// Something cut out of a frame, with soft edges.
#[derive(Clone)]
pub(super) struct Sprite {
    height: usize,
    width: usize,
    /// Where its centre lies from its upper left corner, in pixels.
    centre: Spot,
    /// Red, green and blue times the opacity, and the opacity in [0, 1]; row after row.
    values: Vec<[f32; 4]>,
}

/// A position in pixels; the centre of the upper left pixel is (0, 0).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spot {
    pub(super) y: f32,
    pub(super) x: f32,
}

impl Spot {
    /// Whether it lies within a frame.
    pub(super) fn is_in(self, frame: &Frame) -> bool {
        let (height, width) = (frame.height() as f32, frame.width() as f32);
        (0.0..height).contains(&self.y) && (0.0..width).contains(&self.x)
    }
}

/// How a sprite is laid over a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Laid {
    /// Where its centre comes.
    pub(super) at: Spot,
    /// Its size there over its own.
    pub(super) scale: f32,
    pub(super) opacity: f32,
}

/// Pixels around a blob that its soft edge may take.
const MARGIN: usize = 3;

/// Opacity in a box around a blob.
pub(super) struct Matte {
    pub(super) top: usize,
    pub(super) left: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// In [0, 1], row after row.
    pub(super) opacity: Vec<f32>,
}

impl Matte {
    /// Whole over the blob and `reach` pixels around it, falling to nothing over two more.
    pub(super) fn around(blob: &Blob, frame: &Frame, reach: usize) -> Self {
        let margin = MARGIN + reach;
        let (top, left) = (blob.top.saturating_sub(margin), blob.left.saturating_sub(margin));
        let bottom = (blob.bottom + margin).min(frame.height() - 1);
        let right = (blob.right + margin).min(frame.width() - 1);
        let (height, width) = (bottom + 1 - top, right + 1 - left);
        let mut opacity = vec![0.0; height * width];
        for &at in &blob.pixels {
            let (y, x) = (at / frame.width() - top, at % frame.width() - left);
            for y in y.saturating_sub(reach)..=(y + reach).min(height - 1) {
                opacity
                    [y * width + x.saturating_sub(reach)..=y * width + (x + reach).min(width - 1)]
                    .fill(1.0);
            }
        }
        let opacity = box_mean(&box_mean(&opacity, width), width);
        Self { top, left, height, width, opacity }
    }
}

impl Sprite {
    /// A blob as it is in its frame.
    pub(super) fn of(blob: &Blob, frame: &Frame) -> Self {
        let matte = Matte::around(blob, frame, 1);
        let (top, left) = (matte.top, matte.left);
        let centre = Spot { y: blob.y - top as f32, x: blob.x - left as f32 };
        let Matte { height, width, opacity, .. } = matte;
        let value = |(at, opacity): (usize, f32)| {
            let pixel = pixel(frame, top + at / width, left + at % width);
            [pixel[0] * opacity, pixel[1] * opacity, pixel[2] * opacity, opacity]
        };
        let values = opacity.into_iter().enumerate().map(value).collect();
        Self { height, width, centre, values }
    }

    /// Turned left to right.
    #[must_use]
    pub(super) fn turned(mut self) -> Self {
        self.values.chunks_exact_mut(self.width).for_each(<[_]>::reverse);
        self.centre.x = (self.width - 1) as f32 - self.centre.x;
        self
    }

    /// Lays it over a picture, between pixels by bilinear interpolation.
    pub(super) fn lay(&self, picture: &mut Picture<'_>, laid: Laid) {
        let Laid { at, scale, opacity } = laid;
        let low = |centre: f32, own: f32| (centre - (own + 1.0) * scale).floor().max(0.0) as usize;
        let high = |centre: f32, own: f32, end: usize| {
            ((centre + (own + 1.0) * scale).ceil() + 1.0).clamp(0.0, end as f32) as usize
        };
        let below = self.height as f32 - self.centre.y;
        let beside = self.width as f32 - self.centre.x;
        for y in low(at.y, self.centre.y)..high(at.y, below, picture.height()) {
            for x in low(at.x, self.centre.x)..high(at.x, beside, picture.width()) {
                let [r, g, b, own] = self.sample(Spot {
                    y: (y as f32 - at.y) / scale + self.centre.y,
                    x: (x as f32 - at.x) / scale + self.centre.x,
                });
                if own > 0.004 {
                    picture.lay(y, x, [r / own, g / own, b / own], own * opacity);
                }
            }
        }
    }

    fn sample(&self, spot: Spot) -> [f32; 4] {
        let (y, x) = (spot.y.floor(), spot.x.floor());
        let (v, u) = (spot.y - y, spot.x - x);
        let value = |dy: i64, dx: i64| {
            let (y, x) = (y as i64 + dy, x as i64 + dx);
            let inside =
                (0..self.height as i64).contains(&y) && (0..self.width as i64).contains(&x);
            if inside { self.values[y as usize * self.width + x as usize] } else { [0.0; 4] }
        };
        let corners = [value(0, 0), value(0, 1), value(1, 0), value(1, 1)];
        let weights = [(1.0 - v) * (1.0 - u), (1.0 - v) * u, v * (1.0 - u), v * u];
        std::array::from_fn(|c| corners.iter().zip(weights).map(|(value, w)| value[c] * w).sum())
    }
}

/// A pixel's grey levels.
pub(super) fn pixel(frame: &Frame, y: usize, x: usize) -> [f32; CHANNELS] {
    let at = (y * frame.width() + x) * CHANNELS;
    std::array::from_fn(|channel| f32::from(frame.pixels()[at + channel]))
}
