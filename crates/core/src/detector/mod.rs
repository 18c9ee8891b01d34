//! The score that is served: how surprising a clip is for a camera, and which parts say so.
//!
//! Each statistic of a clip ([`Part`]) becomes a surprise by its distribution over normal frames;
//! their weighted sum is calibrated once more, with and without causal smoothing. So a surprise of
//! 2 is seen on one normal frame in a hundred, whatever the parts and the camera are, and a
//! threshold is a share of false alarms.
//!
//! Three choices make that true of frames that the calibration has not seen. Sums are calibrated
//! across videos: a video's sums are made with the distributions of the other videos, because no
//! frame is unusual for a distribution that it is itself part of. A part whose distribution does
//! not carry over from video to video is trusted less. And a part's surprise counts in full up to a
//! knee only; beyond it its logarithm counts: still in order, but so that one part of one frame,
//! however strange, neither outvotes the others nor stays in the smoothed sum long after it has
//! passed.

mod alarms;
mod calibrate;
mod generalisation;
mod perspective;
mod smoothing;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::maps::{Part, Statistics};
use crate::surprise::{Normal, SurpriseError};

pub use alarms::AlarmFrequency;
pub use calibrate::{Recipe, WeightedPart};
pub use smoothing::{Smoother, Smoothing};

/// A recipe calibrated on a camera's normal video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detector {
    /// The parts that count.
    pub parts: Vec<CalibratedPart>,
    /// As in [`Recipe`].
    pub knee: f64,
    /// As in [`Recipe`].
    pub keep: f64,
    /// As in [`Recipe`]; 0 in a detector that was made without.
    #[serde(default)]
    pub max_slope: f64,
    /// Of the sum, frame by frame.
    pub instant: Normal,
    /// Of the sum after smoothing.
    pub smoothed: Normal,
    /// How often normal video raised the alarm; absent in a detector that was made without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarms: Option<AlarmFrequency>,
}

/// A part with its distribution over normal frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibratedPart {
    /// The statistic.
    pub part: Part,
    /// The weight of its surprise, as in [`Recipe`].
    pub weight: f64,
    /// How well its surprise carries over from video to video, in (0, 1]: the weight counts so
    /// much. 1 where at most a twentieth of the normal frames are as unusual for the other videos
    /// as a twentieth should be, and less in proportion to how unusual that twentieth is.
    pub trust: f64,
    /// How much what is typical of the part grows down the picture, as a share of its value halfway
    /// down: values are taken relative to `1 + slope · y`, with y from −½ at the upper edge to ½ at
    /// the lower one. At least 0 and below 2.
    #[serde(default)]
    pub slope: f64,
    /// Its values on normal frames.
    pub normal: Normal,
}

/// How surprising one clip is.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipSurprise {
    /// Surprise of the clip by itself.
    pub surprise: f64,
    /// What a [`Smoother`] takes: the weighted sum of the parts' surprises, each as far as the
    /// detector's knee lets it count.
    pub sum: f64,
    /// Why: every part that counts.
    pub parts: Vec<PartSurprise>,
}

/// What one part says of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// There is too little normal video.
    #[error("{found} held-out clips; at least {} are needed", Recipe::MIN_CLIPS)]
    TooFewClips {
        /// How many there are.
        found: usize,
    },
    /// The values of a part, or their sum, make no distribution.
    #[error("{of}: {source}")]
    Distribution {
        /// Name of the part, `sum` or `smoothed sum`.
        of: &'static str,
        /// What is wrong with them.
        source: SurpriseError,
    },
}

/// A part that the model does not have is 0 on every clip, and so surprises nobody.
fn value(part: Part, slope: f64, found: &Statistics) -> f64 {
    found.in_perspective(part, slope).unwrap_or_default()
}

/// What each part says of a clip with these values, both in order.
fn surprises(parts: &[CalibratedPart], values: &[f64]) -> Vec<PartSurprise> {
    let of = |(of, &value): (&CalibratedPart, &f64)| PartSurprise {
        part: of.part,
        value,
        surprise: of.normal.surprise(value),
    };
    parts.iter().zip(values).map(of).collect()
}

fn sum(surprises: &[PartSurprise], parts: &[CalibratedPart], knee: f64) -> f64 {
    let tempered = |surprise: f64| {
        if surprise < knee { surprise } else { knee + (surprise - knee).ln_1p() }
    };
    surprises
        .iter()
        .zip(parts)
        .map(|(of, part)| part.weight * part.trust * tempered(of.surprise))
        .sum()
}

impl Detector {
    /// The recipe that it was calibrated from.
    pub fn recipe(&self) -> Recipe {
        let weighted =
            |part: &CalibratedPart| WeightedPart { part: part.part, weight: part.weight };
        let parts = self.parts.iter().map(weighted).collect();
        Recipe { parts, knee: self.knee, keep: self.keep, max_slope: self.max_slope }
    }

    /// The surprise above which a share of the normal frames lies: `−log10` of it.
    pub fn threshold(false_alarm_rate: f64) -> f64 {
        -false_alarm_rate.log10()
    }

    /// A statistic as the detector takes it: relative to what is typical of its place where the
    /// part counts, and as it is where it does not. Nothing where the model has no such map.
    pub fn statistic(&self, part: Part, found: &Statistics) -> Option<f64> {
        let slope = self.parts.iter().find(|of| of.part == part).map_or(0.0, |of| of.slope);
        found.in_perspective(part, slope)
    }

    /// How surprising a clip is by itself, and why.
    pub fn judge(&self, found: &Statistics) -> ClipSurprise {
        let values = self.parts.iter().map(|of| value(of.part, of.slope, found));
        let parts = surprises(&self.parts, &values.collect::<Vec<f64>>());
        let sum = sum(&parts, &self.parts, self.knee);
        ClipSurprise { surprise: self.instant.surprise(sum), sum, parts }
    }

    /// A smoother at the start of a video.
    pub fn smoother(&self) -> Smoother<'_> {
        self.smoother_after(None)
    }

    /// A smoother that goes on from [`Smoother::last`] of another.
    pub fn smoother_after(&self, last: Option<f64>) -> Smoother<'_> {
        Smoother { normal: &self.smoothed, smoothing: Smoothing::after(self.keep, last) }
    }

    /// Whether every field is one that [`Recipe::calibrate`] may have made.
    pub fn is_valid(&self) -> bool {
        let normals = self.parts.iter().map(|part| &part.normal);
        let trusted = |part: &CalibratedPart| {
            part.trust > 0.0 && part.trust <= 1.0 && (0.0..Recipe::SLOPES).contains(&part.slope)
        };
        self.parts.iter().all(trusted)
            && self.recipe().validate().is_ok()
            && normals.chain([&self.instant, &self.smoothed]).all(Normal::is_valid)
            && self.alarms.as_ref().is_none_or(AlarmFrequency::is_valid)
    }
}
