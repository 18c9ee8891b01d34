//! From normal video to a detector.

use serde::{Deserialize, Serialize};

use super::generalisation::{self, Judged, judged, raised};
use super::{
    AlarmFrequency, CalibratedPart, Detector, DetectorError, PartSurprise, Smoothing, perspective,
    sum, surprises, value,
};
use crate::maps::{Part, Statistics};
use crate::normalise::quantile;
use crate::surprise::Normal;

/// A video of more than two thirds of all clips is cut into so many parts.
const PIECES: usize = 4;
/// The share of a part's normal frames that its trust is measured on: rare, and still many frames.
const TWENTIETH: f64 = 0.05;
/// Distributions are made at most so many times; of more stretches, several are judged at once.
const MAX_FOLDS: usize = 8;

/// What a detector is made of, before it has seen a camera.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// The parts that count, and their weights in the sum.
    pub parts: Vec<WeightedPart>,
    /// A part's surprise counts in full up to this, `s ↦ knee + ln(1 + s − knee)` beyond it; 0 or
    /// more.
    pub knee: f64,
    /// Share of the sum's last smoothed value that is kept at every frame, in [0, 1).
    pub keep: f64,
    /// The most that what is typical of a part may grow down the picture, as a share of its value
    /// halfway down; 0 for none, below 2. How much it grows is measured: see
    /// [`CalibratedPart::slope`].
    pub max_slope: f64,
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

impl Default for Recipe {
    fn default() -> Self {
        let of = |(part, weight)| WeightedPart { part, weight };
        // Speed finds bicycles among walkers, and little where normal things differ in speed. The
        // feature distance is for recipes of models that the separation loss has taught something.
        let parts = [(Part::LargestError, 1.0), (Part::RelativeError, 1.0), (Part::Speed, 0.5)];
        // Four times as much at the lower edge as at the upper one.
        Self { parts: parts.map(of).into(), knee: 2.0, keep: 0.6, max_slope: 1.2 }
    }
}

impl Recipe {
    /// Fewer normal clips than this make no detector.
    pub const MIN_CLIPS: usize = PIECES;
    /// Slopes lie below this: with it nothing at all would be typical at the upper edge.
    pub(super) const SLOPES: f64 = 2.0;

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
        let mut named: Vec<Part> = self.parts.iter().map(|part| part.part).collect();
        named.sort_unstable();
        if let Some(twice) = named.windows(2).find(|pair| pair[0] == pair[1]) {
            return error(
                "parts",
                format!("{} twice", twice[0].name()),
                "accepted: each part once",
            );
        }
        if !(self.knee >= 0.0 && self.knee.is_finite()) {
            return error("knee", self.knee.to_string(), "accepted: 0 or more, finite");
        }
        if !(0.0..1.0).contains(&self.keep) {
            return error("keep", self.keep.to_string(), "accepted: 0 or more, below 1");
        }
        if !(0.0..Self::SLOPES).contains(&self.max_slope) {
            return error("max_slope", self.max_slope.to_string(), "accepted: 0 or more, below 2");
        }
        Ok(())
    }

    /// Calibrates on normal videos, each the statistics of its clips in order: on those that the
    /// model was not trained on, and on those that it learnt from, whose values are raised by what
    /// the model does better on them. Without any of the latter the former stand for themselves.
    ///
    /// # Errors
    /// When the recipe is out of range, there are fewer held-out clips than [`Recipe::MIN_CLIPS`],
    /// or a statistic is not finite.
    pub fn calibrate(
        &self,
        held_out: &[&[Statistics]],
        learnt: &[&[Statistics]],
    ) -> Result<Detector, DetectorError> {
        self.validate()?;
        let found = held_out.iter().map(|clips| clips.len()).sum();
        if found < Self::MIN_CLIPS {
            return Err(DetectorError::TooFewClips { found });
        }
        let clips: Vec<&Statistics> = held_out.iter().chain(learnt).copied().flatten().collect();
        self.of_the_model(&clips)?.calibrated(held_out, learnt, &clips)
    }

    /// The recipe without the parts that no clip has: the feature distance of a model without
    /// memory.
    fn of_the_model(&self, clips: &[&Statistics]) -> Result<Self, DetectorError> {
        let is_there = |of: &&WeightedPart| clips.iter().any(|clip| clip.get(of.part).is_some());
        let parts: Vec<WeightedPart> = self.parts.iter().filter(is_there).copied().collect();
        if parts.is_empty() {
            return Err(DetectorError::Recipe {
                field: "parts",
                found: Part::FeatureDistance.name().to_owned(),
                accepted: "the model has no memory; a part that it has is needed",
            });
        }
        Ok(Self { parts, ..self.clone() })
    }

    fn calibrated(
        &self,
        held_out: &[&[Statistics]],
        learnt: &[&[Statistics]],
        clips: &[&Statistics],
    ) -> Result<Detector, DetectorError> {
        let slopes: Vec<f64> = self
            .parts
            .iter()
            .map(|of| perspective::slope(of.part, clips, self.max_slope))
            .collect();
        let videos = self.videos(&slopes, held_out, learnt);
        let across = self.surprises_across(&videos)?;
        let mut parts = self.parts_of(&videos.concat())?;
        for (part, slope) in parts.iter_mut().zip(slopes) {
            part.slope = slope;
        }
        for (index, part) in parts.iter_mut().enumerate() {
            part.trust = trust(across.iter().flatten().map(|of| of[index].surprise).collect());
        }
        let sums: Vec<Vec<f64>> = across
            .iter()
            .map(|video| video.iter().map(|of| sum(of, &parts, self.knee)).collect())
            .collect();
        let smooth = |video: &Vec<f64>| {
            let mut smoothing = Smoothing::new(self.keep);
            video.iter().map(|&sum| smoothing.push(sum)).collect::<Vec<f64>>()
        };
        let averages: Vec<Vec<f64>> = sums.iter().map(smooth).collect();
        let smoothed = fit("smoothed sum", &averages.concat())?;
        let surprises = |video: &Vec<f64>| video.iter().map(|&it| smoothed.surprise(it)).collect();
        let alarms = AlarmFrequency::of(&averages.iter().map(surprises).collect::<Vec<_>>());
        Ok(Detector {
            parts,
            knee: self.knee,
            keep: self.keep,
            max_slope: self.max_slope,
            instant: fit("sum", &sums.concat())?,
            smoothed,
            alarms: Some(alarms),
        })
    }

    /// What every clip has of each part, by video: of held-out ones as it is, and of learnt ones as
    /// it would be had they not been learnt. Without the learnt ones where nothing says how much
    /// they flatter the model.
    fn videos(
        &self,
        slopes: &[f64],
        held_out: &[&[Statistics]],
        learnt: &[&[Statistics]],
    ) -> Vec<Vec<Values>> {
        let levelled = |video: &&[Statistics]| -> Vec<Judged> {
            video.iter().map(|clip| judged(clip, self.values(slopes, clip))).collect()
        };
        let held_out: Vec<Vec<Judged>> = held_out.iter().map(levelled).collect();
        let learnt: Vec<Vec<Judged>> = learnt.iter().map(levelled).collect();
        let parts: Vec<Part> = self.parts.iter().map(|of| of.part).collect();
        let values = |video: Vec<Judged>| video.into_iter().map(|clip| clip.values).collect();
        let gaps = generalisation::gaps(&parts, &held_out, &learnt);
        let Some(gaps) = gaps else { return held_out.into_iter().map(values).collect() };
        let raise = |clip: Judged| -> Values {
            let parts = parts.iter().zip(&gaps).zip(clip.values);
            parts.map(|((&part, &gap), value)| raised(part, value, gap)).collect()
        };
        let raised = |video: Vec<Judged>| video.into_iter().map(raise).collect();
        held_out.into_iter().map(values).chain(learnt.into_iter().map(raised)).collect()
    }

    /// What a clip has of each part, in order.
    pub(super) fn values(&self, slopes: &[f64], clip: &Statistics) -> Values {
        let parts = self.parts.iter().zip(slopes);
        parts.map(|(of, &slope)| value(of.part, slope, clip)).collect()
    }

    /// What each part says of every clip, by video, each made with the distributions of other
    /// stretches of video than its own.
    fn surprises_across(
        &self,
        videos: &[Vec<Values>],
    ) -> Result<Vec<Vec<Vec<PartSurprise>>>, DetectorError> {
        let stretches = stretches(&videos.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let mut across: Vec<Vec<Vec<PartSurprise>>> = videos.iter().map(|_| Vec::new()).collect();
        for fold in 0..stretches.len().min(MAX_FOLDS) {
            let is_judged = |index: usize| index % MAX_FOLDS == fold;
            let others = stretches.iter().enumerate().filter(|(index, _)| !is_judged(*index));
            let others: Vec<Values> =
                others.flat_map(|(_, stretch)| stretch.clips).cloned().collect();
            let parts = self.parts_of(&others)?;
            let judged = stretches.iter().enumerate().filter(|(index, _)| is_judged(*index));
            for (_, stretch) in judged {
                let of = stretch.clips.iter().map(|clip| surprises(&parts, clip));
                across[stretch.video].extend(of);
            }
        }
        Ok(across)
    }

    pub(super) fn parts_of(&self, clips: &[Values]) -> Result<Vec<CalibratedPart>, DetectorError> {
        let part = |(index, &WeightedPart { part, weight }): (usize, &WeightedPart)| {
            let values: Vec<f64> = clips.iter().map(|found| found[index]).collect();
            let normal = fit(part.name(), &values)?;
            Ok(CalibratedPart { part, weight, trust: 1.0, slope: 0.0, normal })
        };
        self.parts.iter().enumerate().map(part).collect()
    }
}

pub(super) fn fit(of: &'static str, values: &[f64]) -> Result<Normal, DetectorError> {
    Normal::fit(values).map_err(|source| DetectorError::Distribution { of, source })
}

/// What one clip has of each part, in the recipe's order.
pub(super) type Values = Vec<f64>;

/// Consecutive clips of one video.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch<'a, Clip> {
    pub(super) video: usize,
    pub(super) clips: &'a [Clip],
}

/// The videos, and parts of one that is most of all: held against the rest alone it would be held
/// against next to nothing. Parts are the second choice: people who were just there are still there.
pub(super) fn stretches<'a, Clip>(videos: &[&'a [Clip]]) -> Vec<Stretch<'a, Clip>> {
    let filled: Vec<(usize, &'a [Clip])> =
        videos.iter().copied().enumerate().filter(|(_, clips)| !clips.is_empty()).collect();
    let all: usize = filled.iter().map(|(_, clips)| clips.len()).sum();
    let cut = |&(video, clips): &(usize, &'a [Clip])| {
        let pieces = if clips.len() * 3 > all * 2 { PIECES } else { 1 };
        let length = clips.len().div_ceil(pieces);
        clips.chunks(length).map(move |clips| Stretch { video, clips })
    };
    filled.iter().flat_map(cut).collect()
}

/// [`CalibratedPart::trust`] of a part with these surprises across videos.
pub(super) fn trust(surprises: Vec<f64>) -> f64 {
    let expected = Detector::threshold(TWENTIETH);
    match quantile(&surprises, 1.0 - TWENTIETH) {
        Some(found) if found > expected => expected / found,
        _ => 1.0,
    }
}
