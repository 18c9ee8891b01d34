//! The score that is served: how surprising a clip is for a camera, and which parts say so.
//!
//! Each statistic of a clip ([`Part`]) becomes a surprise by its distribution over normal frames;
//! their weighted sum is calibrated once more, with and without causal smoothing. So a surprise of
//! 2 is seen on one normal frame in a hundred, whatever the parts and the camera are, and a
//! threshold is a share of false alarms.

use serde::{Deserialize, Serialize};

use crate::maps::{Part, Statistics};
use crate::surprise::{Normal, SurpriseError};

/// What a detector is made of, before it has seen a camera.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The parts that count, and their weights in the sum.
    pub parts: Vec<WeightedPart>,
    /// Share of the sum's last smoothed value that is kept at every frame, in [0, 1).
    pub keep: f64,
}

/// A part and how much it counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedPart {
    /// The statistic.
    pub part: Part,
    /// The weight of its surprise, above 0.
    pub weight: f64,
}

/// A recipe calibrated on a camera's normal video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detector {
    /// The parts that count.
    pub parts: Vec<CalibratedPart>,
    /// As in [`Recipe`].
    pub keep: f64,
    /// Of the sum, frame by frame.
    pub instant: Normal,
    /// Of the sum after smoothing.
    pub smoothed: Normal,
}

/// A part with its distribution over normal frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibratedPart {
    /// The statistic.
    pub part: Part,
    /// The weight of its surprise.
    pub weight: f64,
    /// Its values on normal frames.
    pub normal: Normal,
}

/// How surprising one clip is.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipSurprise {
    /// Surprise of the clip by itself.
    pub surprise: f64,
    /// What a [`Smoother`] takes: the weighted sum of the parts' surprises.
    pub sum: f64,
    /// Why: every part that counts.
    pub parts: Vec<PartSurprise>,
}

/// What one part says of a clip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PartSurprise {
    /// The statistic.
    pub part: Part,
    /// Its value, in its own unit.
    pub value: f64,
    /// How rare that is on normal frames.
    pub surprise: f64,
}

/// Why normal video gives no detector.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DetectorError {
    /// The recipe is no recipe.
    #[error("detector.{field} is {found}; {accepted}")]
    Recipe {
        /// The field's name.
        field: &'static str,
        /// Its value.
        found: String,
        /// What would be accepted.
        accepted: &'static str,
    },
    /// The values of a part, or their sum, make no distribution.
    #[error("{of}: {source}")]
    Distribution {
        /// Name of the part, or `sum`.
        of: &'static str,
        /// What is wrong with them.
        source: SurpriseError,
    },
}

impl Default for Recipe {
    fn default() -> Self {
        let of = |part| WeightedPart { part, weight: 1.0 };
        Self {
            parts: [Part::LargestError, Part::RelativeError, Part::Speed].map(of).into(),
            keep: 0.4,
        }
    }
}

impl Recipe {
    /// Checks every field.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn validate(&self) -> Result<(), DetectorError> {
        let error =
            |field, found: String, accepted| Err(DetectorError::Recipe { field, found, accepted });
        if self.parts.is_empty() {
            return error("parts", "empty".to_owned(), "at least one part is needed");
        }
        if let Some(wrong) = self.parts.iter().find(|p| !(p.weight > 0.0 && p.weight.is_finite())) {
            return error("parts.weight", wrong.weight.to_string(), "accepted: above 0, finite");
        }
        if !(0.0..1.0).contains(&self.keep) {
            return error("keep", self.keep.to_string(), "accepted: 0 or more, below 1");
        }
        Ok(())
    }

    /// Calibrates on normal videos, each the statistics of its clips in order.
    ///
    /// # Errors
    /// When the recipe is out of range, there are too few clips, or a statistic is not finite.
    pub fn calibrate(&self, videos: &[&[Statistics]]) -> Result<Detector, DetectorError> {
        self.validate()?;
        let parts = self.parts.iter().map(|&WeightedPart { part, weight }| {
            let values: Vec<f64> =
                videos.iter().copied().flatten().map(|found| value(part, found)).collect();
            Ok(CalibratedPart { part, weight, normal: fit(part.name(), &values)? })
        });
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let sum = |found: &Statistics| sum(&parts, found);
        let sums: Vec<Vec<f64>> =
            videos.iter().map(|video| video.iter().map(sum).collect()).collect();
        let smooth = |video: &Vec<f64>| {
            let mut smoothing = Smoothing::new(self.keep);
            video.iter().map(|&sum| smoothing.push(sum)).collect::<Vec<f64>>()
        };
        let smoothed: Vec<f64> = sums.iter().flat_map(smooth).collect();
        Ok(Detector {
            keep: self.keep,
            instant: fit("sum", &sums.concat())?,
            smoothed: fit("sum", &smoothed)?,
            parts,
        })
    }
}

fn fit(of: &'static str, values: &[f64]) -> Result<Normal, DetectorError> {
    Normal::fit(values).map_err(|source| DetectorError::Distribution { of, source })
}

/// A part that the model does not have is 0 on every clip, and so surprises nobody.
fn value(part: Part, found: &Statistics) -> f64 {
    found.get(part).unwrap_or_default()
}

/// Surprises up to this count in full; what is beyond counts by its logarithm.
const FULL: f64 = 4.0;

/// Still in order, but so that one part of one frame, however strange, neither outvotes the others
/// nor stays in the smoothed sum long after it has passed.
fn tempered(surprise: f64) -> f64 {
    if surprise < FULL { surprise } else { FULL + (surprise - FULL).ln_1p() }
}

fn sum(parts: &[CalibratedPart], found: &Statistics) -> f64 {
    let surprise = |of: &CalibratedPart| of.normal.surprise(value(of.part, found));
    parts.iter().map(|of| of.weight * tempered(surprise(of))).sum()
}

impl Detector {
    /// The recipe that it was calibrated from.
    pub fn recipe(&self) -> Recipe {
        let weighted =
            |part: &CalibratedPart| WeightedPart { part: part.part, weight: part.weight };
        Recipe { parts: self.parts.iter().map(weighted).collect(), keep: self.keep }
    }

    /// The surprise above which a share of the normal frames lies: `−log10` of it.
    pub fn threshold(false_alarm_rate: f64) -> f64 {
        -false_alarm_rate.log10()
    }

    /// How surprising a clip is by itself, and why.
    pub fn judge(&self, found: &Statistics) -> ClipSurprise {
        let of = |part: &CalibratedPart| {
            let value = value(part.part, found);
            PartSurprise { part: part.part, value, surprise: part.normal.surprise(value) }
        };
        let sum = sum(&self.parts, found);
        let parts = self.parts.iter().map(of).collect();
        ClipSurprise { surprise: self.instant.surprise(sum), sum, parts }
    }

    /// A smoother at the start of a video.
    pub fn smoother(&self) -> Smoother<'_> {
        Smoother { normal: &self.smoothed, smoothing: Smoothing::new(self.keep) }
    }

    /// Whether every field is one that [`Recipe::calibrate`] may have made.
    pub fn is_valid(&self) -> bool {
        let normals = self.parts.iter().map(|part| &part.normal);
        self.recipe().validate().is_ok()
            && normals.chain([&self.instant, &self.smoothed]).all(Normal::is_valid)
    }
}

/// Makes one video's sums into surprises that rest on its past frames as well: a causal
/// exponential average, with its own distribution over normal video.
#[derive(Clone, Debug)]
pub struct Smoother<'a> {
    normal: &'a Normal,
    smoothing: Smoothing,
}

impl Smoother<'_> {
    /// Takes the [`ClipSurprise::sum`] of the next frame and gives the smoothed surprise.
    pub fn push(&mut self, sum: f64) -> f64 {
        self.normal.surprise(self.smoothing.push(sum))
    }
}

/// `y_k = keep · y_(k−1) + (1 − keep) · x_k`, which begins with the first value.
#[derive(Clone, Copy, Debug)]
pub struct Smoothing {
    keep: f64,
    last: Option<f64>,
}

impl Smoothing {
    /// At the start of a video; `keep` in [0, 1).
    pub fn new(keep: f64) -> Self {
        Self { keep, last: None }
    }

    /// Takes the next value and gives the average up to it.
    pub fn push(&mut self, value: f64) -> f64 {
        let next = self.last.map_or(value, |last| self.keep * last + (1.0 - self.keep) * value);
        self.last = Some(next);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClipMaps, Plane};

    fn plane(side: usize, value: impl Fn(usize) -> f32) -> Plane {
        let values = (0..side * side).map(value).collect();
        Plane { height: side, width: side, channels: 1, values }
    }

    /// Of a frame whose errors and speeds are in proportion to `loud`.
    fn statistics(loud: f32) -> Statistics {
        Statistics::of(&ClipMaps {
            error: plane(8, |cell| if cell == 9 { 0.02 * loud } else { 0.001 }),
            moved: plane(8, |_| 0.02),
            speed: plane(4, |cell| if cell == 5 { loud } else { 0.1 }),
            feature_distance: None,
        })
    }

    fn loudness(frame: usize) -> f32 {
        1.0 + 0.3 * ((frame * 7919 % 101) as f32 / 101.0)
    }

    fn detector() -> Detector {
        let recipe = Recipe::default();
        let video = |from: usize| {
            (from..from + 200).map(|frame| statistics(loudness(frame))).collect::<Vec<_>>()
        };
        recipe.calibrate(&[&video(0), &video(1000), &video(2000)]).unwrap()
    }

    #[test]
    fn a_share_of_normal_frames_lies_above_its_threshold() {
        let detector = detector();
        for rate in [0.05, 0.01] {
            let above = |frame: &usize| {
                detector.judge(&statistics(loudness(*frame))).surprise > Detector::threshold(rate)
            };
            let found = (0..1000).filter(above).count() as f64 / 1000.0;
            assert!((found - rate).abs() <= 0.02, "{found} of normal frames at {rate}");
        }
    }

    #[test]
    fn what_is_far_outside_goes_on_rising_and_says_why() {
        let detector = detector();
        let [odd, odder] = [2.0, 4.0].map(|loud| detector.judge(&statistics(loud)));
        assert!(odd.surprise > 3.0 && odder.surprise > odd.surprise + 1.0);
        assert!(odder.parts.iter().all(|part| part.surprise > 2.0), "{:?}", odder.parts);
        assert_eq!(odder.parts[2].part, Part::Speed);
        assert!((odder.parts[2].value - 4.0).abs() < 1e-6);
    }

    #[test]
    fn smoothing_takes_time_and_knows_its_own_distribution() {
        let detector = detector();
        let mut smoother = detector.smoother();
        let mut push = |loud| smoother.push(detector.judge(&statistics(loud)).sum);
        for frame in 0..50 {
            push(loudness(frame));
        }
        let rising: Vec<f64> = (0..12).map(|_| push(3.0)).collect();
        assert!(rising.is_sorted_by(|a, b| a < b), "{rising:?}");
        let falling: Vec<f64> = (0..40).map(|frame| push(loudness(frame))).collect();
        assert!(falling[0] > falling[10], "what has passed fades: {falling:?}");
        assert!(falling[39] < Detector::threshold(0.01), "{falling:?}");
    }

    #[test]
    fn what_gives_no_detector_is_named() {
        let few = Recipe::default().calibrate(&[&[]]).unwrap_err().to_string();
        assert_eq!(few, "largest_error: 0 normal frames have a score; at least 2 are needed");
        let broken = Recipe { keep: 1.0, ..Recipe::default() }.validate().unwrap_err().to_string();
        assert_eq!(broken, "detector.keep is 1; accepted: 0 or more, below 1");
        let parts = vec![WeightedPart { part: Part::Speed, weight: 0.0 }];
        let broken = Recipe { parts, keep: 0.5 }.validate().unwrap_err().to_string();
        assert_eq!(broken, "detector.parts.weight is 0; accepted: above 0, finite");
    }
}
