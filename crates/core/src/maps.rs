//! What a model saw where in a frame, and the statistics of it that may be unusual.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Plane;

/// Maps of one clip, of one value a cell; a cell is a square of pixels. A mean over the frame
/// counts the crowd, and a bicycle is a hundredth of the pixels, so that where matters.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipMaps {
    /// Squared error of the predicted frame by cell, averaged over pixels and channels, frames in
    /// [0, 1].
    pub error: Plane,
    /// How much moved by cell: squared difference of past frames and target, averaged over past
    /// frames, pixels and channels, frames in [0, 1]. As many cells as `error`.
    pub moved: Plane,
    /// Speed of what moves, in pixels a frame of the model's side, at a resolution of its own.
    pub speed: Plane,
    /// Distance of each query to its nearest memory item, at the bottleneck's resolution; absent
    /// in a model without memory.
    pub feature_distance: Option<Plane>,
}

/// A statistic of a clip, in which large is unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The prediction's error over the whole frame in dB: the PSNR's negative.
    PredictionError,
    /// The prediction's error where it is largest, in dB.
    LargestError,
    /// The error's share of what moved, where it is largest.
    RelativeError,
    /// Speed where it is largest, in pixels a frame of the model's side.
    Speed,
    /// Distance to the nearest memory item where it is largest.
    FeatureDistance,
}

impl Part {
    /// Every part, in the order of reports.
    pub const ALL: [Self; 5] = [
        Self::PredictionError,
        Self::LargestError,
        Self::RelativeError,
        Self::Speed,
        Self::FeatureDistance,
    ];

    /// Whether its values are decibels: logarithms, that may be negative.
    pub(crate) fn is_in_decibels(self) -> bool {
        matches!(self, Self::PredictionError | Self::LargestError)
    }

    /// Whether a trained model has a part in it.
    pub(crate) fn is_of_the_model(self) -> bool {
        self != Self::Speed
    }

    /// Its name in files and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::PredictionError => "prediction_error",
            Self::LargestError => "largest_error",
            Self::RelativeError => "relative_error",
            Self::Speed => "speed",
            Self::FeatureDistance => "feature_distance",
        }
    }
}

/// What the parts of a score rest on, of one clip: for each the map whose largest values it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Mean squared error over the frame.
    mean_error: f64,
    /// Mean over the frame of how much moved.
    mean_moved: f64,
    /// Squared error, by squares of four cells.
    error: Plane,
    /// Its share of what moved, by squares of four cells.
    relative_error: Plane,
    speed: Plane,
    feature_distance: Option<Plane>,
}

impl Statistics {
    /// Takes them from a clip's maps.
    pub fn of(maps: &ClipMaps) -> Self {
        let error = by_four(&maps.error);
        Self {
            mean_error: mean(&maps.error.values),
            mean_moved: mean(&maps.moved.values),
            relative_error: share(&error, &by_four(&maps.moved)),
            error,
            speed: maps.speed.clone(),
            feature_distance: maps.feature_distance.clone(),
        }
    }

    /// The statistic of one part; nothing where the model has no such map.
    pub fn get(&self, part: Part) -> Option<f64> {
        self.in_perspective(part, 0.0)
    }

    /// The same where what is typical grows by `slope` down the picture: values are divided by
    /// `1 + slope · y`, with y from −½ at the upper edge to ½ at the lower one.
    pub(crate) fn in_perspective(&self, part: Part, slope: f64) -> Option<f64> {
        let Some(map) = self.map(part) else {
            return (part == Part::PredictionError).then(|| decibels(self.mean_error));
        };
        let levelled = |(row, values): (usize, &[f32])| {
            let level = (1.0 + slope * height_of(row, map.height)) as f32;
            values.iter().map(move |value| value / level).collect::<Vec<f32>>()
        };
        let values: Vec<f32> =
            map.values.chunks(map.width.max(1)).enumerate().flat_map(levelled).collect();
        let share = match part {
            Part::Speed => LARGEST_SPEEDS,
            Part::FeatureDistance => LARGEST_DISTANCES,
            _ => LARGEST_ERRORS,
        };
        let found = largest_mean(values, share);
        Some(if part == Part::LargestError { decibels(found) } else { found })
    }

    /// How much moved, averaged over the frame: what a clip is like whatever a model makes of it.
    pub(crate) fn mean_moved(&self) -> f64 {
        self.mean_moved
    }

    /// The map that a part is the largest values of.
    pub(crate) fn map(&self, part: Part) -> Option<&Plane> {
        match part {
            Part::PredictionError => None,
            Part::LargestError => Some(&self.error),
            Part::RelativeError => Some(&self.relative_error),
            Part::Speed => Some(&self.speed),
            Part::FeatureDistance => self.feature_distance.as_ref(),
        }
    }

    /// Whether every value is a number.
    pub fn is_finite(&self) -> bool {
        let maps = Part::ALL.into_iter().filter_map(|part| self.map(part));
        self.mean_error.is_finite()
            && self.mean_moved.is_finite()
            && maps.flat_map(|map| map.values.iter()).all(|value| value.is_finite())
    }
}

/// Where the middle of a row lies, from −½ at the upper edge to ½ at the lower one.
pub(crate) fn height_of(row: usize, rows: usize) -> f64 {
    (row as f64 + 0.5) / rows as f64 - 0.5
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Share of the squares of four cells whose error counts: about the size of one figure. A single
/// cell is the edge of a leg, and a normal crowd has many of those.
const LARGEST_ERRORS: f64 = 0.01;
/// Share of the cells whose speed counts.
const LARGEST_SPEEDS: f64 = 0.05;
/// Share of the queries whose distance counts.
const LARGEST_DISTANCES: f64 = 0.03;
/// What moved less than this, in squared units of [0, 1], is noise; large against a camera's own.
const STILL: f32 = 0.01;

impl ClipMaps {
    /// `error / (moved + c)` by cell: what of the motion was not foreseen. A crowd that walks as
    /// it always does moves much and is foreseen.
    pub fn relative_error(&self) -> Plane {
        share(&self.error, &self.moved)
    }

    /// Whether every value is a number that can be judged.
    pub fn is_finite(&self) -> bool {
        let planes = [&self.error, &self.moved, &self.speed];
        let planes = planes.into_iter().chain(&self.feature_distance);
        planes.flat_map(|plane| plane.values.iter()).all(|value| value.is_finite())
    }
}

fn share(error: &Plane, moved: &Plane) -> Plane {
    let pairs = error.values.iter().zip(moved.values.iter());
    let values = pairs.map(|(&error, &moved)| error / (moved + STILL)).collect();
    Plane { values, ..error.clone() }
}

/// Means over squares of two by two cells; what is left over at an odd edge makes smaller ones.
fn by_four(map: &Plane) -> Plane {
    let (height, width) = (map.height.div_ceil(2), map.width.div_ceil(2));
    let square = |index: usize| {
        let (top, left) = (2 * (index / width), 2 * (index % width));
        let rows = top..(top + 2).min(map.height);
        let cells =
            rows.flat_map(|y| (left..(left + 2).min(map.width)).map(move |x| y * map.width + x));
        let (sum, count) =
            cells.fold((0.0, 0.0), |(sum, count), cell| (sum + map.values[cell], count + 1.0));
        sum / count
    };
    Plane { height, width, channels: 1, values: (0..height * width).map(square).collect() }
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len().max(1) as f64
}

/// Mean of the largest `share` of the values, of one at least.
fn largest_mean(mut values: Vec<f32>, share: f64) -> f64 {
    let count = ((values.len() as f64 * share).round() as usize).clamp(1, values.len().max(1));
    if values.is_empty() {
        return 0.0;
    }
    let from = values.len() - count;
    values.select_nth_unstable_by(from, f32::total_cmp);
    // Sums are of sorted values, so that the order of the cells does not show in the last digit.
    let largest = &mut values[from..];
    largest.sort_by(f32::total_cmp);
    mean(largest)
}

/// `10 log10` of a squared error, bounded as the PSNR is.
fn decibels(squared_error: f64) -> f64 {
    -crate::PsnrDb::from_mse(squared_error).0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(values: &[f32]) -> Plane {
        Plane { height: 10, width: values.len() / 10, channels: 1, values: values.into() }
    }

    #[test]
    fn statistics_by_hand() {
        // Squares of four cells: one of 0.04 and one of 0.02 on average among 25.
        let mut error = vec![0.001; 100];
        let mut moved = vec![0.0; 100];
        for (cell, value) in [(22, 0.157), (44, 0.077)] {
            error[cell] = value;
        }
        moved[22] = 0.76;
        let mut speed = vec![0.0; 100];
        speed[3..8].copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        let mut distance = vec![0.5; 100];
        distance[50..53].copy_from_slice(&[0.6, 0.8, 1.0]);
        let maps = ClipMaps {
            error: plane(&error),
            moved: plane(&moved),
            speed: plane(&speed),
            feature_distance: Some(plane(&distance)),
        };
        let found = Statistics::of(&maps);
        let of = |part: Part| found.get(part).unwrap();
        let mean = (98.0 * 0.001 + 0.157 + 0.077) / 100.0;
        assert!((of(Part::PredictionError) - 10.0 * f64::log10(mean)).abs() < 1e-4);
        // A hundredth of 25 squares is one: the largest.
        assert!((of(Part::LargestError) - 10.0 * 0.04f64.log10()).abs() < 1e-4);
        // 0.04 / (0.19 + 0.01) = 0.2, but 0.02 / 0.01 = 2.
        assert!((of(Part::RelativeError) - 2.0).abs() < 1e-5);
        assert!((of(Part::Speed) - 3.0).abs() < 1e-6);
        // Three hundredths of the queries are those three.
        assert!((of(Part::FeatureDistance) - 0.8).abs() < 1e-6);
        let without = ClipMaps { feature_distance: None, ..maps };
        assert_eq!(Statistics::of(&without).get(Part::FeatureDistance), None);
    }

    #[test]
    fn values_are_taken_relative_to_what_is_typical_of_their_row() {
        // Of four rows the levels are 1 + 0.8 · (−⅜, −⅛, ⅛, ⅜) = 0.7, 0.9, 1.1, 1.3.
        let rows = |values: [f32; 4]| Plane {
            height: 4,
            width: 1,
            channels: 1,
            values: values.as_slice().into(),
        };
        let maps = ClipMaps {
            error: rows([0.0; 4]),
            moved: rows([0.0; 4]),
            speed: rows([2.1, 2.2, 2.3, 2.6]),
            feature_distance: None,
        };
        let found = Statistics::of(&maps);
        let near = |found: Option<f64>, expected: f64| (found.unwrap() - expected).abs() < 1e-6;
        assert!(near(found.get(Part::Speed), 2.6));
        assert!(near(found.in_perspective(Part::Speed, 0.8), 3.0), "the uppermost row's 2.1 / 0.7");
        assert_eq!(
            found.in_perspective(Part::PredictionError, 0.8),
            found.get(Part::PredictionError)
        );
    }

    #[test]
    fn what_is_not_finite_is_seen_in_every_map() {
        let sound = || ClipMaps {
            error: plane(&[0.1; 100]),
            moved: plane(&[0.1; 100]),
            speed: plane(&[1.0; 100]),
            feature_distance: Some(plane(&[0.5; 100])),
        };
        assert!(sound().is_finite() && Statistics::of(&sound()).is_finite());
        let mut broken = [0.1; 100];
        broken[7] = f32::NAN;
        let broken = plane(&broken);
        for maps in [
            ClipMaps { error: broken.clone(), ..sound() },
            ClipMaps { moved: broken.clone(), ..sound() },
            ClipMaps { speed: broken.clone(), ..sound() },
            ClipMaps { feature_distance: Some(broken.clone()), ..sound() },
        ] {
            assert!(!maps.is_finite() && !Statistics::of(&maps).is_finite(), "{maps:?}");
        }
    }

    #[test]
    fn a_part_is_shown_by_its_name() {
        assert_eq!(Part::RelativeError.to_string(), "relative_error");
    }

    #[test]
    fn an_odd_edge_makes_smaller_squares() {
        let values: Vec<f32> = (0..9u8).map(f32::from).collect();
        let map = Plane { height: 3, width: 3, channels: 1, values: values.into() };
        let found = by_four(&map);
        assert_eq!((found.height, found.width), (2, 2));
        assert_eq!(*found.values, [2.0, 3.5, 6.5, 8.0]);
    }

    #[test]
    fn one_cell_counts_at_least_and_nan_is_not_hidden() {
        assert_eq!(largest_mean(vec![1.0, 3.0, 2.0], 0.02), 3.0);
        assert!(largest_mean(vec![1.0, f32::NAN, 2.0], 0.02).is_nan());
    }
}
