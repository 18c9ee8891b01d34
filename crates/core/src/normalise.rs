//! From raw scores to a regularity in [0, 1] (Eq. 21, 24, 25).
//!
//! Min–max over a whole video, scene or data set is what the field reports, and cannot be served
//! live, because it needs the future. [`crate::Calibration`] is the causal form.

use serde::{Deserialize, Serialize};

use crate::{FeatureDistance, PsnrDb, Regularity};

/// The paper's weight of the prediction against the feature distance.
pub const GAMMA: f64 = 0.6;

/// The raw scores of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameScore {
    /// How well the frame was predicted.
    pub psnr: PsnrDb,
    /// How far its past lies from the memory; absent without a memory.
    pub feature_distance: Option<FeatureDistance>,
}

/// Which frames share their minimum and maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grouping {
    /// Each video by itself: the field's convention.
    Video,
    /// All videos of a scene: the paper's words.
    Scene,
    /// All frames together.
    Dataset,
    /// Fixed bounds from held-out normal frames: the only causal one.
    Calibrated,
}

/// The two ends of a normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// The value that maps to 0.
    pub low: f64,
    /// The value that maps to 1.
    pub high: f64,
}

impl Bounds {
    /// Minimum and maximum, or nothing for no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        values.into_iter().fold(None, |bounds: Option<Self>, value| {
            let Self { low, high } = bounds.unwrap_or(Self { low: value, high: value });
            Some(Self { low: low.min(value), high: high.max(value) })
        })
    }

    /// The `tail` and `1 - tail` quantiles, or nothing for no values.
    pub fn quantiles(values: &[f64], tail: f64) -> Option<Self> {
        Some(Self { low: quantile(values, tail)?, high: quantile(values, 1.0 - tail)? })
    }

    /// Whether all values are the same, so that no position can be told.
    pub fn is_degenerate(self) -> bool {
        self.high - self.low <= f64::EPSILON * self.high.abs().max(self.low.abs())
    }

    /// Where `value` lies between low and high, clamped to [0, 1]; `degenerate` where the two
    /// are one.
    pub fn position(self, value: f64, degenerate: f64) -> f64 {
        if self.is_degenerate() {
            return degenerate;
        }
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// The `q` quantile by linear interpolation between order statistics, or nothing for no values.
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile_of_sorted(&sorted, q)
}

/// As [`quantile`], of values that ascend.
pub(crate) fn quantile_of_sorted(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = q.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
    Some(below + (above - below) * position.fract())
}

/// Bounds of both raw scores and their weighting.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normaliser {
    /// Bounds of the PSNR in dB.
    pub psnr_db: Bounds,
    /// Bounds of the feature distance; absent without a memory.
    pub feature_distance: Option<Bounds>,
    /// Weight of the PSNR, in [0, 1].
    pub gamma: f64,
}

impl Normaliser {
    /// Min–max over a group of frames (Eq. 21, 24), or nothing for an empty group.
    ///
    /// The feature distance counts only when every frame has one.
    pub fn min_max(group: &[FrameScore], gamma: f64) -> Option<Self> {
        let psnr_db = Bounds::of(group.iter().map(|score| score.psnr.0))?;
        Some(Self { psnr_db, feature_distance: distances(group).and_then(Bounds::of), gamma })
    }

    /// The `tail` and `1 - tail` quantiles of a group, or nothing for an empty group.
    pub fn quantiles(group: &[FrameScore], tail: f64, gamma: f64) -> Option<Self> {
        let psnr: Vec<f64> = group.iter().map(|score| score.psnr.0).collect();
        let feature_distance = distances(group).and_then(|values| Bounds::quantiles(&values, tail));
        Some(Self { psnr_db: Bounds::quantiles(&psnr, tail)?, feature_distance, gamma })
    }

    /// Whether one of the scores was the same on every frame of the group.
    pub fn is_degenerate(&self) -> bool {
        self.psnr_db.is_degenerate() || self.feature_distance.is_some_and(Bounds::is_degenerate)
    }

    /// `gamma P + (1 - gamma)(1 - D)` (Eq. 25); `P` alone without a feature distance. A degenerate
    /// bound gives P = 1 or D = 0, the values of a normal frame.
    pub fn regularity(&self, score: &FrameScore) -> Regularity {
        let psnr = self.psnr_db.position(score.psnr.0, 1.0);
        let (Some(bounds), Some(distance)) = (self.feature_distance, score.feature_distance) else {
            return Regularity(psnr);
        };
        let distance = bounds.position(distance.0, 0.0);
        Regularity(self.gamma * psnr + (1.0 - self.gamma) * (1.0 - distance))
    }
}

fn distances(group: &[FrameScore]) -> Option<Vec<f64>> {
    group.iter().map(|score| score.feature_distance.map(|distance| distance.0)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn score(psnr: f64, distance: f64) -> FrameScore {
        FrameScore { psnr: PsnrDb(psnr), feature_distance: Some(FeatureDistance(distance)) }
    }

    #[test]
    fn the_best_frame_of_a_group_is_1_and_the_worst_0() {
        let group = [score(30.0, 0.2), score(20.0, 0.6), score(25.0, 0.4)];
        let normaliser = Normaliser::min_max(&group, GAMMA).unwrap();
        let regularity: Vec<f64> = group.iter().map(|s| normaliser.regularity(s).0).collect();
        assert!((regularity[0] - 1.0).abs() < 1e-12);
        assert!(regularity[1].abs() < 1e-12);
        assert!((regularity[2] - 0.5).abs() < 1e-12);
    }

    #[test]
    fn the_distance_counts_when_every_frame_has_one() {
        let mut group = [score(30.0, 0.4), score(20.0, 0.2), score(25.0, 0.6)];
        let bounds = Some(Bounds { low: 0.2, high: 0.6 });
        assert_eq!(Normaliser::min_max(&group, GAMMA).unwrap().feature_distance, bounds);
        assert_eq!(Normaliser::quantiles(&group, 0.0, GAMMA).unwrap().feature_distance, bounds);
        group[1].feature_distance = None;
        assert_eq!(Normaliser::min_max(&group, GAMMA).unwrap().feature_distance, None);
    }

    #[test]
    fn a_degenerate_group_is_normal() {
        let group = [score(30.0, 0.2); 3];
        let normaliser = Normaliser::min_max(&group, GAMMA).unwrap();
        assert!(normaliser.is_degenerate());
        assert_eq!(normaliser.regularity(&group[0]), Regularity(1.0));
    }

    #[test]
    fn bounds_that_only_rounding_tells_apart_are_degenerate() {
        let bounds = |low: f64, high: f64| Bounds { low, high };
        assert!(bounds(0.0, 0.0).is_degenerate());
        assert!(bounds(40.0, 40.0f64.next_up()).is_degenerate());
        assert!(!bounds(40.0, 40.0 * (1.0 + 4.0 * f64::EPSILON)).is_degenerate());
        assert_eq!(bounds(0.0, 0.0).position(0.0, 0.25), 0.25);
    }

    #[test]
    fn one_degenerate_score_makes_a_group_degenerate() {
        let spread = Bounds { low: 0.0, high: 1.0 };
        let normaliser = |psnr_db, feature_distance| {
            Normaliser { psnr_db, feature_distance, gamma: GAMMA }.is_degenerate()
        };
        let same = Bounds { low: 1.0, high: 1.0 };
        assert!(normaliser(same, Some(spread)) && normaliser(spread, Some(same)));
        assert!(!normaliser(spread, Some(spread)) && !normaliser(spread, None));
    }

    #[test]
    fn the_weight_is_that_of_the_psnr() {
        let spread = Bounds { low: 0.0, high: 1.0 };
        let normaliser =
            Normaliser { psnr_db: spread, feature_distance: Some(spread), gamma: 0.75 };
        // 0.75 · 0.5 + 0.25 · (1 − 0.25)
        assert_eq!(normaliser.regularity(&score(0.5, 0.25)), Regularity(0.5625));
    }

    #[test]
    fn without_distances_the_psnr_decides() {
        let group =
            [20.0, 30.0].map(|psnr| FrameScore { psnr: PsnrDb(psnr), feature_distance: None });
        let normaliser = Normaliser::min_max(&group, GAMMA).unwrap();
        assert_eq!(normaliser.regularity(&group[1]), Regularity(1.0));
        assert!(Normaliser::min_max(&[], GAMMA).is_none());
    }

    #[test]
    fn quantiles_interpolate() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&values, 0.0), Some(1.0));
        assert_eq!(quantile(&values, 0.25), Some(1.75));
        assert_eq!(quantile(&values, 0.5), Some(2.5));
        assert_eq!(quantile(&values, 1.0), Some(4.0));
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(Bounds::quantiles(&values, 0.25), Some(Bounds { low: 1.75, high: 3.25 }));
    }

    proptest! {
        #[test]
        fn an_offset_in_psnr_changes_nothing(
            psnr in proptest::collection::vec(0.0..60.0f64, 2..40),
            offset in -10.0..10.0f64,
        ) {
            let group: Vec<FrameScore> = psnr.iter().map(|&p| score(p, 0.5)).collect();
            let shifted: Vec<FrameScore> = psnr.iter().map(|&p| score(p + offset, 0.5)).collect();
            let plain = Normaliser::min_max(&group, GAMMA).unwrap();
            prop_assume!(plain.psnr_db.high - plain.psnr_db.low > 1e-6);
            let moved = Normaliser::min_max(&shifted, GAMMA).unwrap();
            for (a, b) in group.iter().zip(&shifted) {
                prop_assert!((plain.regularity(a).0 - moved.regularity(b).0).abs() < 1e-6);
            }
        }

        #[test]
        fn regularity_stays_in_range(psnr in -50.0..150.0f64, distance in -1.0..3.0f64) {
            let normaliser = Normaliser {
                psnr_db: Bounds { low: 20.0, high: 40.0 },
                feature_distance: Some(Bounds { low: 0.1, high: 0.9 }),
                gamma: GAMMA,
            };
            let regularity = normaliser.regularity(&score(psnr, distance)).0;
            prop_assert!((0.0..=1.0).contains(&regularity));
        }
    }
}
