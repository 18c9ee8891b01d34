//! From values to colours.

use image::Rgb;

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
pub(super) fn heat(value: f32) -> Rgb<u8> {
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
