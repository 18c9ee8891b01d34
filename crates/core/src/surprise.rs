//! How rare a value is among normal ones, on a scale that never saturates.
//!
//! The *surprise* of a value is `−log10` of the share of normal values at least as large: 2 for
//! one frame in a hundred, 3 for one in a thousand, and one more for every ten times rarer. Inside
//! what was seen the share is counted; beyond it a generalised Pareto tail goes on (peaks over
//! threshold: Pickands, *Statistical inference using extreme order statistics*, 1975), so that two
//! values beyond the largest normal one still have an order. Bounds that clamp do not have that: a
//! score that lies at its end for every frame of a crowd tells nothing of a cart in it.

use serde::{Deserialize, Serialize};

use crate::normalise::quantile_of_sorted;

/// Share of the normal values that the tail is fitted to, where no two are the same: many that
/// share the value at which it begins are none of it.
const TAIL_SHARE: f64 = 0.1;
/// Knots of the distribution below the tail.
const KNOTS: usize = 64;
/// The heaviest tail that is fitted. A tail lighter than exponential ends somewhere, and would
/// saturate; one heavier than this has no variance.
const MAX_SHAPE: f64 = 0.5;
/// The narrowest tail, as a share of how far the upper half of the values reaches. Where the
/// largest values are all the same, nothing says how far beyond them is rare.
const SMALLEST_SCALE: f64 = 0.01;

/// The distribution of a score over normal frames; large is unusual.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normal {
    /// Values at evenly spaced quantiles from 0 to `1 − tail_share`, not decreasing. The tail begins
    /// at the last.
    pub knots: Vec<f64>,
    /// Share of the values beyond the last knot, in (0, 1).
    pub tail_share: f64,
    /// Scale of the tail, in units of the score; above 0.
    pub scale: f64,
    /// Shape of the tail: 0 is exponential, more is heavier.
    pub shape: f64,
}

/// Values that no distribution can be had from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SurpriseError {
    /// Too few to say what is rare.
    #[error("{found} normal frames have a score; at least {} are needed", Normal::MIN_VALUES)]
    TooFew {
        /// How many there were.
        found: usize,
    },
    /// A value is NaN or infinite.
    #[error("normal frame {index} has a score that is not finite; the model is broken")]
    NotFinite {
        /// Position of the value among those given.
        index: usize,
    },
}

impl Normal {
    /// Fewer values than this make no distribution.
    pub const MIN_VALUES: usize = 2;

    /// The distribution of `values`.
    ///
    /// # Errors
    /// When there are too few or one is not finite.
    pub fn fit(values: &[f64]) -> Result<Self, SurpriseError> {
        if values.len() < Self::MIN_VALUES {
            return Err(SurpriseError::TooFew { found: values.len() });
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(SurpriseError::NotFinite { index });
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| quantile_of_sorted(&sorted, share).unwrap_or_default();
        let start = at(1.0 - TAIL_SHARE);
        let beyond = &sorted[sorted.partition_point(|&value| value <= start)..];
        let excesses: Vec<f64> = beyond.iter().map(|value| value - start).collect();
        // Where nothing lies beyond, the next value might.
        let tail_share = match beyond.len() {
            0 => 1.0 / (values.len() + 1) as f64,
            some => some as f64 / values.len() as f64,
        };
        let share = |knot: usize| (1.0 - tail_share) * knot as f64 / (KNOTS - 1) as f64;
        let mut knots: Vec<f64> = (0..KNOTS - 1).map(|knot| at(share(knot)).min(start)).collect();
        knots.push(start);
        let mut reaches = [at(1.0) - at(0.5), at(1.0) - at(0.0)].into_iter();
        let reach = reaches.find(|&reach| reach > 0.0).unwrap_or(f64::MIN_POSITIVE.sqrt());
        let Tail { scale, shape } = Tail::fit(&excesses, SMALLEST_SCALE * reach);
        Ok(Self { knots, tail_share, scale, shape })
    }

    /// `−log10` of the share of normal values at least as large as `value`; at least 0, and never
    /// less for a larger value. NaN for NaN.
    pub fn surprise(&self, value: f64) -> f64 {
        if value.is_nan() {
            return f64::NAN;
        }
        let threshold = self.threshold();
        if value <= threshold {
            // The sum with 0 makes a positive zero of a negative one.
            return -(1.0 - self.share_below(value)).log10() + 0.0;
        }
        let beyond = (value - threshold) / self.scale;
        // −ln of (1 + shape · beyond)^(−1 / shape), whose limit at shape 0 is beyond itself.
        let nats =
            if self.shape < 1e-9 { beyond } else { (self.shape * beyond).ln_1p() / self.shape };
        nats / std::f64::consts::LN_10 - self.tail_share.log10()
    }

    /// The value of which `surprise` is the surprise: the inverse of [`Normal::surprise`] from
    /// the tail's beginning on, and that beginning below it.
    pub fn value_at(&self, surprise: f64) -> f64 {
        let nats = (surprise + self.tail_share.log10()).max(0.0) * std::f64::consts::LN_10;
        let beyond =
            if self.shape < 1e-9 { nats } else { (self.shape * nats).exp_m1() / self.shape };
        self.threshold() + self.scale * beyond
    }

    /// Whether every field is one that [`Normal::fit`] may have made.
    pub fn is_valid(&self) -> bool {
        let finite = self.knots.iter().all(|knot| knot.is_finite());
        finite
            && self.knots.len() >= 2
            && self.knots.is_sorted()
            && self.scale > 0.0
            && self.scale.is_finite()
            && (0.0..=MAX_SHAPE).contains(&self.shape)
            && self.tail_share > 0.0
            && self.tail_share < 1.0
    }

    /// Where the tail begins.
    fn threshold(&self) -> f64 {
        self.knots.last().copied().unwrap_or_default()
    }

    /// Share of the normal values below `value`, which is none of the tail: linear between knots.
    fn share_below(&self, value: f64) -> f64 {
        let at = self.knots.partition_point(|&knot| knot < value);
        let (Some(below), Some(&next)) = (at.checked_sub(1), self.knots.get(at)) else {
            return 0.0;
        };
        let within = (value - self.knots[below]) / (next - self.knots[below]);
        (below as f64 + within) * (1.0 - self.tail_share) / (self.knots.len() - 1) as f64
    }
}

/// A generalised Pareto distribution of excesses over a threshold.
#[derive(Clone, Copy, Debug)]
struct Tail {
    scale: f64,
    shape: f64,
}

impl Tail {
    /// By probability-weighted moments (Hosking and Wallis, *Parameter and quantile estimation for
    /// the generalized Pareto distribution*, 1987), the shape held to `[0, MAX_SHAPE]`. Excesses
    /// are ascending.
    fn fit(excesses: &[f64], smallest: f64) -> Self {
        let count = excesses.len() as f64;
        if excesses.is_empty() {
            return Self { scale: smallest, shape: 0.0 };
        }
        let mean = excesses.iter().sum::<f64>() / count;
        let weigh = |(rank, excess): (usize, &f64)| (count - 0.65 - rank as f64) / count * excess;
        let weighted = excesses.iter().enumerate().map(weigh).sum::<f64>() / count;
        let shape = 2.0 - mean / (mean - 2.0 * weighted);
        // A handful of values says nothing of the shape.
        let shape = if excesses.len() < 10 || !shape.is_finite() { 0.0 } else { shape };
        let shape = shape.clamp(0.0, MAX_SHAPE);
        Self { scale: (mean * (1.0 - shape)).max(smallest), shape }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Quantiles of the unit exponential, whose surprise is `value / ln 10`.
    fn exponential(count: usize) -> Vec<f64> {
        (0..count).map(|rank| -(1.0 - (rank as f64 + 0.5) / count as f64).ln()).collect()
    }

    #[test]
    fn shares_are_counted_inside_and_go_on_outside() {
        let normal = Normal::fit(&exponential(10_000)).unwrap();
        for surprise in [0.1, 0.5, 0.99, 1.0, 1.5, 2.0, 3.0, 6.0] {
            let found = normal.surprise(surprise * std::f64::consts::LN_10);
            assert!((found - surprise).abs() < 0.03 * surprise + 0.005, "{found} for {surprise}");
        }
        assert!(normal.surprise(-1.0) == 0.0 && normal.surprise(-1.0).is_sign_positive());
        assert!(normal.surprise(f64::NAN).is_nan());
    }

    /// Survival `(1 + x / 4)^-4` has shape 1/4, and ten times as rare is `10^(1/4)` as far.
    #[test]
    fn a_heavy_tail_is_found() {
        let pareto = |share: f64| 4.0 * ((1.0 - share).powf(-0.25) - 1.0);
        let values: Vec<f64> = (0..20_000).map(|i| pareto((i as f64 + 0.5) / 20_000.0)).collect();
        let normal = Normal::fit(&values).unwrap();
        assert!((normal.shape - 0.25).abs() < 0.05, "{}", normal.shape);
        let rare = pareto(1.0 - 1e-5);
        assert!((normal.surprise(rare) - 5.0).abs() < 0.3, "{}", normal.surprise(rare));
    }

    /// Uniform values have an end; a fitted end would make everything beyond it infinitely rare.
    #[test]
    fn a_tail_never_ends() {
        let values: Vec<f64> = (0..1000).map(f64::from).collect();
        let normal = Normal::fit(&values).unwrap();
        assert_eq!(normal.shape, 0.0);
        let [near, far] = [2000.0, 3000.0].map(|value| normal.surprise(value));
        assert!(near.is_finite() && far > near + 1.0, "{near} {far}");
    }

    #[test]
    fn a_constant_score_is_a_distribution_too() {
        let normal = Normal::fit(&[3.0; 50]).unwrap();
        assert!(normal.is_valid());
        assert_eq!(normal.surprise(2.0), 0.0);
        // All of them are at least that large, and the 51st may be larger.
        assert_eq!(normal.surprise(3.0), 0.0);
        assert_eq!(normal.tail_share, 1.0 / 51.0);
        assert!(normal.surprise(3.0 + 1e-9) > 51f64.log10());
    }

    /// A camera whose picture mostly stands still: what it does on one frame in fifty is one in
    /// fifty, and standing still is nothing.
    #[test]
    fn values_that_are_the_same_are_counted_together() {
        let moving = exponential(200);
        let values = [vec![0.0; 9800], moving].concat();
        let normal = Normal::fit(&values).unwrap();
        assert_eq!(normal.surprise(0.0), 0.0);
        let above = values.iter().filter(|&&value| normal.surprise(value) > 2.0).count();
        assert!((90..=110).contains(&above), "{above} of 10000 normal values lie above 2");
        // One half stands still: at least so large are the other half.
        let half = Normal::fit(&[vec![0.0; 500], exponential(500)].concat()).unwrap();
        assert_eq!(half.surprise(0.0), 0.0);
        assert!((half.surprise(1e-9) - 2f64.log10()).abs() < 0.02, "{}", half.surprise(1e-9));
    }

    /// The largest tenth are all the same: beyond it is rare, and how rare is not invented.
    #[test]
    fn a_tail_without_values_is_no_cliff() {
        let values: Vec<f64> = (0..1000).map(|value| f64::from(value.min(880))).collect();
        let normal = Normal::fit(&values).unwrap();
        assert!((normal.surprise(880.0) + 0.12f64.log10()).abs() < 0.05);
        // The median is 499.5.
        assert!((normal.scale - 0.01 * 380.5).abs() < 1e-9, "{}", normal.scale);
        let [near, far] = [881.0, 920.0].map(|value| normal.surprise(value));
        assert!(near > 3.0 && near < far && far < 9.0, "{near} {far}");
    }

    /// Where the upper half of the values is one, all of them say how narrow a tail may be.
    #[test]
    fn a_tail_is_as_narrow_as_the_values_reach() {
        let normal = Normal::fit(&[1.0, 1.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0]).unwrap();
        assert!((normal.scale - 0.01 * 2.0).abs() < 1e-12, "{}", normal.scale);
    }

    #[test]
    fn a_tail_of_ten_excesses_has_a_shape_and_one_of_nine_has_none() {
        let mut excesses = [1.0; 10];
        excesses[9] = 21.0;
        // The mean is 3; weights of (9.35 − rank) / 10 make 0.555: 2 − 3 / (3 − 1.11).
        let Tail { scale, shape } = Tail::fit(&excesses, 0.0);
        assert!((shape - 0.412_698).abs() < 1e-6 && (scale - 1.761_905).abs() < 1e-6);
        let Tail { scale, shape } = Tail::fit(&excesses[1..], 0.0);
        assert!(shape == 0.0 && (scale - 29.0 / 9.0).abs() < 1e-12);
    }

    #[test]
    fn what_no_fit_makes_is_not_valid() {
        let made = || Normal { knots: vec![0.0, 1.0], tail_share: 0.1, scale: 1.0, shape: 0.5 };
        assert!(made().is_valid());
        for wrong in [
            Normal { knots: vec![0.0, f64::INFINITY], ..made() },
            Normal { knots: vec![0.0], ..made() },
            Normal { knots: vec![1.0, 0.0], ..made() },
            Normal { scale: 0.0, ..made() },
            Normal { scale: -1.0, ..made() },
            Normal { scale: f64::INFINITY, ..made() },
            Normal { shape: -0.01, ..made() },
            Normal { shape: 0.51, ..made() },
            Normal { tail_share: 0.0, ..made() },
            Normal { tail_share: 1.0, ..made() },
        ] {
            assert!(!wrong.is_valid(), "{wrong:?}");
        }
    }

    #[test]
    fn what_makes_no_distribution_is_an_error() {
        assert_eq!(Normal::fit(&[1.0]), Err(SurpriseError::TooFew { found: 1 }));
        let broken = Normal::fit(&[1.0, f64::NAN, 2.0]);
        assert_eq!(broken, Err(SurpriseError::NotFinite { index: 1 }));
        assert!(broken.unwrap_err().to_string().contains("frame 1"));
    }

    proptest! {
        #[test]
        fn surprise_never_falls_and_is_inverted(
            mut values in prop::collection::vec(-1e3f64..1e3, 2..200),
            mut asked in prop::collection::vec(-2e3f64..2e3, 2..20),
        ) {
            let normal = Normal::fit(&values).unwrap();
            prop_assert!(normal.is_valid());
            asked.append(&mut values);
            asked.sort_by(f64::total_cmp);
            let found: Vec<f64> = asked.iter().map(|&value| normal.surprise(value)).collect();
            prop_assert!(found.iter().all(|&surprise| surprise >= 0.0 && surprise.is_finite()));
            prop_assert!(found.is_sorted());
            let tail = -normal.tail_share.log10();
            for surprise in [tail + 0.01, tail + 1.0, tail + 3.0] {
                let back = normal.surprise(normal.value_at(surprise));
                prop_assert!((back - surprise).abs() < 1e-6, "{back} for {surprise}");
            }
        }
    }
}
