//! How much larger normal things are at the foot of the picture than at its head.
//!
//! A camera looks down: what is near stands low in the picture, and is larger and faster there. One
//! threshold for all rows then hears only what is near. A straight line is all that perspective
//! needs, and one number can be had from an hour of video without an empty row of sky making
//! everything in it look unusual.

use crate::maps::{Part, Statistics, height_of};
use crate::normalise::quantile;

/// What a row's typical value is a quantile of: its largest values in normal clips.
const TYPICAL: f64 = 0.9;
/// How much the slope is drawn towards 0, beside the spread of evenly used rows.
const RIDGE: f64 = 0.25;
/// The variance of the heights of evenly used rows.
const EVEN: f64 = 1.0 / 12.0;

/// The slope of a part's typical value over the picture's height, as a share of its value halfway
/// down, in `[0, most]`: a least-squares line through the rows' typical values, each row as heavy as
/// its value is large. 0 where things grow smaller downwards, which is no perspective.
pub(super) fn slope(part: Part, clips: &[&Statistics], most: f64) -> f64 {
    let rows = typical_rows(part, clips);
    let total: f64 = rows.iter().sum();
    if total <= 0.0 {
        return 0.0;
    }
    let mean = |of: &dyn Fn(f64, f64) -> f64| {
        let rows = rows.iter().enumerate().map(|(row, &value)| (height_of(row, rows.len()), value));
        rows.map(|(y, value)| value * of(y, value)).sum::<f64>() / total
    };
    let middle = mean(&|y, _| y);
    let level = mean(&|_, value| value);
    let spread = mean(&|y, _| (y - middle).powi(2));
    let joint = mean(&|y, value| y * (value - level));
    let rise = joint / (spread + RIDGE * EVEN);
    let halfway = level - rise * middle;
    if halfway <= 0.0 { most } else { (rise / halfway).clamp(0.0, most) }
}

/// The typical largest value of each row, from the upper edge down.
fn typical_rows(part: Part, clips: &[&Statistics]) -> Vec<f64> {
    let maps = || clips.iter().filter_map(|clip| clip.map(part));
    let Some(first) = maps().next() else { return Vec::new() };
    let (height, width) = (first.height, first.width.max(1));
    let of_row = |row: usize| {
        let largest = |values: &[f32]| values.iter().copied().fold(0.0, f32::max);
        let rows = maps().filter_map(|map| map.values.get(row * width..(row + 1) * width));
        let values: Vec<f64> = rows.map(|values| f64::from(largest(values))).collect();
        quantile(&values, TYPICAL).unwrap_or_default()
    };
    (0..height).map(of_row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClipMaps, Plane};

    /// Of a clip whose rows are so fast, ten rows.
    fn clip(speed: impl Fn(usize) -> f32) -> Statistics {
        let plane = |value: &dyn Fn(usize) -> f32| Plane {
            height: 10,
            width: 4,
            channels: 1,
            values: (0..40).map(|cell| value(cell / 4)).collect(),
        };
        Statistics::of(&ClipMaps {
            error: plane(&|_| 0.01),
            moved: plane(&|_| 0.02),
            speed: plane(&speed),
            feature_distance: None,
        })
    }

    fn slope_of(speed: impl Fn(usize) -> f32, most: f64) -> f64 {
        let clips = vec![clip(&speed); 20];
        slope(Part::Speed, &clips.iter().collect::<Vec<_>>(), most)
    }

    #[test]
    fn a_line_is_found_and_drawn_towards_none() {
        // Levels of 1 + 0.8 y, each as heavy as it is large: the mean height is 0.066, the mean
        // level 1.0528, the spread 0.07814 and the joint moment 0.06252; so the rise is
        // 0.06252 / (0.07814 + 0.25 / 12) = 0.6316 and the level halfway 1.0111.
        let found = slope_of(|row| (1.0 + 0.8 * height_of(row, 10)) as f32, 1.9);
        assert!((found - 0.624_67).abs() < 1e-4, "{found}");
        assert_eq!(slope_of(|row| (1.0 + 0.8 * height_of(row, 10)) as f32, 0.5), 0.5);
        assert_eq!(slope_of(|_| 1.0, 1.0), 0.0);
        assert_eq!(slope_of(|row| 2.0 - 0.1 * row as f32, 1.0), 0.0, "smaller downwards");
    }

    #[test]
    fn rows_in_which_nothing_happens_say_little() {
        let walkway = |row: usize| if (4..7).contains(&row) { 1.0 } else { 0.02 };
        assert!(slope_of(walkway, 1.2) < 0.1);
        assert_eq!(slope_of(|_| 0.0, 1.2), 0.0);
        let clip = clip(|_| 1.0);
        assert_eq!(slope(Part::FeatureDistance, &[&clip], 1.2), 0.0, "no such map");
        assert_eq!(slope(Part::PredictionError, &[&clip], 1.2), 0.0, "no place");
    }
}
