//! Frames and what models make of them as pictures for people.

use image::{Rgb, RgbImage};
use protoguard_core::{CHANNELS, Frame, Plane};

/// A frame as it is.
pub fn frame_pixels(frame: &Frame) -> RgbImage {
    from_values(frame.height(), frame.width(), |index| frame.pixels()[index])
}

/// A plane `[S, S, 3]` of RGB in [0, 1].
pub fn rgb_pixels(plane: &Plane) -> RgbImage {
    from_values(plane.height, plane.width, |index| to_byte(plane.values[index]))
}

/// A plane `[S, S, 3]` of RGB differences. Zero is middle gray, and the contrast is twice the
/// values' range: motion is mostly faint.
pub fn difference_pixels(plane: &Plane) -> RgbImage {
    from_values(plane.height, plane.width, |index| to_byte(0.5 + plane.values[index] / 2.0))
}

/// The difference that the motion branch learns (Eq. 5), of frames in [-1, 1], in the scale of
/// [`difference_pixels`].
pub fn true_difference(past: &Frame, target: &Frame) -> RgbImage {
    let (past_pixels, target_pixels) = (past.pixels(), target.pixels());
    from_values(past.height(), past.width(), |index| {
        let bytes = f32::from(past_pixels[index]) - f32::from(target_pixels[index]);
        to_byte(0.5 + bytes / 127.5 / 2.0)
    })
}

/// A plane `[S, S, 1]` of squared errors from 0 to `largest`. Square roots, so that small errors
/// show beside large ones.
pub fn error_pixels(plane: &Plane, largest: f32) -> RgbImage {
    let scale = largest.max(f32::MIN_POSITIVE);
    RgbImage::from_fn(plane.width as u32, plane.height as u32, |x, y| {
        let value = plane.values[y as usize * plane.width + x as usize];
        heat((value / scale).sqrt())
    })
}

/// An RGB picture from `[height, width, 3]` values.
fn from_values(height: usize, width: usize, value: impl Fn(usize) -> u8) -> RgbImage {
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let start = (y as usize * width + x as usize) * CHANNELS;
        Rgb([value(start), value(start + 1), value(start + 2)])
    })
}

fn to_byte(value: f32) -> u8 {
    // A float beyond the range takes the nearer end, NaN becomes 0.
    (value * 255.0).round() as u8
}

/// Black over purple and orange to pale yellow, evenly rising in lightness, so that it reads in
/// print and for the colour-blind. Anchors of matplotlib's "inferno" (CC0).
const HEAT: [[f32; 3]; 9] = [
    [0.0, 0.0, 4.0],
    [31.0, 12.0, 72.0],
    [85.0, 15.0, 109.0],
    [136.0, 34.0, 106.0],
    [186.0, 54.0, 85.0],
    [227.0, 89.0, 51.0],
    [249.0, 140.0, 10.0],
    [249.0, 201.0, 50.0],
    [252.0, 255.0, 164.0],
];

/// The colour of a value in [0, 1]; what lies outside takes the nearer end.
pub fn heat(value: f32) -> Rgb<u8> {
    let last = HEAT.len() - 1;
    let position = if value.is_finite() { value.clamp(0.0, 1.0) } else { 1.0 } * last as f32;
    let below = (position as usize).min(last - 1);
    let share = position - below as f32;
    Rgb(std::array::from_fn(|c| {
        (HEAT[below][c] + (HEAT[below + 1][c] - HEAT[below][c]) * share).round() as u8
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_runs_from_dark_to_pale() {
        assert_eq!(heat(-1.0), Rgb([0, 0, 4]));
        assert_eq!(heat(2.0), Rgb([252, 255, 164]));
        assert_eq!(heat(0.5), Rgb([186, 54, 85]));
        let lightness = |v: f32| heat(v).0.iter().map(|&c| u32::from(c)).sum::<u32>();
        assert!((0..10).all(|i| lightness(i as f32 / 10.0) < lightness((i + 1) as f32 / 10.0)));
    }
}
