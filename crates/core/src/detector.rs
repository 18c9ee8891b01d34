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
//! not carry over from video to video is trusted less. And a part's surprise counts in
//! full up to a knee only; beyond it its logarithm counts: still in order, but so that one part of
//! one frame, however strange, neither outvotes the others nor stays in the smoothed sum long after
//! it has passed.

use serde::{Deserialize, Serialize};

use crate::maps::{Part, Statistics};
use crate::normalise::quantile;
use crate::surprise::{Normal, SurpriseError};

/// A single video is cut into so many parts, which are held against each other.
const PIECES: usize = 4;
/// The share of a part's normal frames that its trust is measured on: rare, and still many frames.
const TWENTIETH: f64 = 0.05;
/// Distributions are made at most so many times; of more stretches, several are judged at once.
const MAX_FOLDS: usize = 8;

/// What a detector is made of, before it has seen a camera.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The parts that count, and their weights in the sum.
    pub parts: Vec<WeightedPart>,
    /// A part's surprise counts in full up to this, `s ↦ knee + ln(1 + s − knee)` beyond it; 0 or
    /// more.
    pub knee: f64,
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
    pub knee: f64,
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
    /// The weight of its surprise, as in [`Recipe`].
    pub weight: f64,
    /// How well its surprise carries over from video to video, in (0, 1]: the weight counts so
    /// much. 1 where at most a twentieth of the normal frames are as unusual for the other videos
    /// as a twentieth should be, and less in proportion to how unusual that twentieth is.
    pub trust: f64,
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
    /// There is too little normal video.
    #[error("{found} normal clips; at least {} are needed", Recipe::MIN_CLIPS)]
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

impl Default for Recipe {
    fn default() -> Self {
        let of = |(part, weight)| WeightedPart { part, weight };
        // Speed finds bicycles among walkers, and little where normal things differ in speed.
        let parts = [(Part::LargestError, 1.0), (Part::RelativeError, 1.0), (Part::Speed, 0.75)];
        Self { parts: parts.map(of).into(), knee: 2.0, keep: 0.6 }
    }
}

impl Recipe {
    /// Fewer normal clips than this make no detector.
    pub const MIN_CLIPS: usize = PIECES;

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
        Ok(())
    }

    /// Calibrates on normal videos, each the statistics of its clips in order.
    ///
    /// # Errors
    /// When the recipe is out of range, there are fewer clips than [`Recipe::MIN_CLIPS`], or a
    /// statistic is not finite.
    pub fn calibrate(&self, videos: &[&[Statistics]]) -> Result<Detector, DetectorError> {
        self.validate()?;
        let clips = videos.iter().map(|video| video.len()).sum();
        if clips < Self::MIN_CLIPS {
            return Err(DetectorError::TooFewClips { found: clips });
        }
        let across = self.surprises_across(videos)?;
        let mut parts = self.parts_of(&videos.concat())?;
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
        let smoothed: Vec<f64> = sums.iter().flat_map(smooth).collect();
        Ok(Detector {
            parts,
            knee: self.knee,
            keep: self.keep,
            instant: fit("sum", &sums.concat())?,
            smoothed: fit("smoothed sum", &smoothed)?,
        })
    }

    /// What each part says of every clip, by video, each made with the distributions of other
    /// stretches of video than its own.
    fn surprises_across(
        &self,
        videos: &[&[Statistics]],
    ) -> Result<Vec<Vec<Vec<PartSurprise>>>, DetectorError> {
        let stretches = stretches(videos);
        let mut across: Vec<Vec<Vec<PartSurprise>>> = videos.iter().map(|_| Vec::new()).collect();
        for fold in 0..stretches.len().min(MAX_FOLDS) {
            let is_judged = |index: usize| index % MAX_FOLDS == fold;
            let others = stretches.iter().enumerate().filter(|(index, _)| !is_judged(*index));
            let others: Vec<Statistics> =
                others.flat_map(|(_, stretch)| stretch.clips).copied().collect();
            let parts = self.parts_of(&others)?;
            let judged = stretches.iter().enumerate().filter(|(index, _)| is_judged(*index));
            for (_, stretch) in judged {
                let of = stretch.clips.iter().map(|clip| surprises(&parts, clip));
                across[stretch.video].extend(of);
            }
        }
        Ok(across)
    }

    fn parts_of(&self, clips: &[Statistics]) -> Result<Vec<CalibratedPart>, DetectorError> {
        let part = |&WeightedPart { part, weight }: &WeightedPart| {
            let values: Vec<f64> = clips.iter().map(|found| value(part, found)).collect();
            Ok(CalibratedPart { part, weight, trust: 1.0, normal: fit(part.name(), &values)? })
        };
        self.parts.iter().map(part).collect()
    }
}

fn fit(of: &'static str, values: &[f64]) -> Result<Normal, DetectorError> {
    Normal::fit(values).map_err(|source| DetectorError::Distribution { of, source })
}

/// A part that the model does not have is 0 on every clip, and so surprises nobody.
fn value(part: Part, found: &Statistics) -> f64 {
    found.get(part).unwrap_or_default()
}

/// Consecutive clips of one video.
#[derive(Clone, Copy, Debug)]
struct Stretch<'a> {
    video: usize,
    clips: &'a [Statistics],
}

/// The videos, or parts of them where all but one together make no distribution. Parts are the
/// second choice: people who were just there are still there.
fn stretches<'a>(videos: &[&'a [Statistics]]) -> Vec<Stretch<'a>> {
    let filled: Vec<(usize, &[Statistics])> =
        videos.iter().copied().enumerate().filter(|(_, clips)| !clips.is_empty()).collect();
    let clips = || filled.iter().map(|(_, clips)| clips.len());
    let beside_the_longest = clips().sum::<usize>() - clips().max().unwrap_or_default();
    let pieces = if beside_the_longest < Normal::MIN_VALUES { PIECES } else { 1 };
    let cut = |&(video, clips): &(usize, &'a [Statistics])| {
        let length = clips.len().div_ceil(pieces);
        clips.chunks(length).map(move |clips| Stretch { video, clips })
    };
    filled.iter().flat_map(cut).collect()
}

/// [`CalibratedPart::trust`] of a part with these surprises across videos.
fn trust(surprises: Vec<f64>) -> f64 {
    let expected = Detector::threshold(TWENTIETH);
    match quantile(&surprises, 1.0 - TWENTIETH) {
        Some(found) if found > expected => expected / found,
        _ => 1.0,
    }
}

/// What each part says of a clip, in order.
fn surprises(parts: &[CalibratedPart], found: &Statistics) -> Vec<PartSurprise> {
    let of = |of: &CalibratedPart| {
        let value = value(of.part, found);
        PartSurprise { part: of.part, value, surprise: of.normal.surprise(value) }
    };
    parts.iter().map(of).collect()
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
        Recipe { parts, knee: self.knee, keep: self.keep }
    }

    /// The surprise above which a share of the normal frames lies: `−log10` of it.
    pub fn threshold(false_alarm_rate: f64) -> f64 {
        -false_alarm_rate.log10()
    }

    /// How surprising a clip is by itself, and why.
    pub fn judge(&self, found: &Statistics) -> ClipSurprise {
        let parts = surprises(&self.parts, found);
        let sum = sum(&parts, &self.parts, self.knee);
        ClipSurprise { surprise: self.instant.surprise(sum), sum, parts }
    }

    /// A smoother at the start of a video.
    pub fn smoother(&self) -> Smoother<'_> {
        Smoother { normal: &self.smoothed, smoothing: Smoothing::new(self.keep) }
    }

    /// Whether every field is one that [`Recipe::calibrate`] may have made.
    pub fn is_valid(&self) -> bool {
        let normals = self.parts.iter().map(|part| &part.normal);
        let trusted = |part: &CalibratedPart| part.trust > 0.0 && part.trust <= 1.0;
        self.parts.iter().all(trusted)
            && self.recipe().validate().is_ok()
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

    /// Four videos, of which the last is by far the loudest: held against a distribution that it is
    /// part of nothing in it is rare, held against the others all of it is.
    #[test]
    fn sums_are_calibrated_across_videos() {
        let video = |light: f32| -> Vec<Statistics> {
            (0..100).map(|frame| statistics(light + 0.1 * loudness(frame))).collect()
        };
        let videos = [1.0, 1.0, 1.0, 2.0].map(video);
        let recipe = Recipe::default();
        let detector = recipe.calibrate(&videos.each_ref().map(Vec::as_slice)).unwrap();
        let loudest = |detector: &Detector| detector.judge(&videos[3][50]);
        let same = recipe.parts_of(&videos.concat()).unwrap();
        let in_sample: Vec<f64> = videos
            .iter()
            .flatten()
            .map(|clip| sum(&surprises(&same, clip), &detector.parts, recipe.knee))
            .collect();
        let in_sample = Detector { instant: fit("sum", &in_sample).unwrap(), ..detector.clone() };
        let [across, within] = [&detector, &in_sample].map(|found| loudest(found).surprise);
        assert!(across < within, "{across} {within}");
        // A quarter of the normal frames were so unusual for the other three videos.
        assert!((across - 4f64.log10()).abs() < 0.2, "{across}");
    }

    #[test]
    fn a_single_video_is_cut_and_several_are_kept_whole() {
        let clips = [statistics(1.0); 10];
        let lengths = |videos: &[&[Statistics]]| -> Vec<(usize, usize)> {
            stretches(videos).iter().map(|of| (of.video, of.clips.len())).collect()
        };
        assert_eq!(lengths(&[&clips]), [(0, 3), (0, 3), (0, 3), (0, 1)]);
        assert_eq!(lengths(&[&clips[..4], &[], &clips[..3]]), [(0, 4), (2, 3)]);
        assert_eq!(lengths(&[&[], &clips[..8]]), [(1, 2); 4]);
        assert_eq!(lengths(&[clips.as_slice(); 5]), [0, 1, 2, 3, 4].map(|video| (video, 10)));
    }

    /// Speed differs from video to video here, and errors do not.
    #[test]
    fn a_part_that_does_not_carry_over_is_trusted_less() {
        let video = |pace: f32| -> Vec<Statistics> {
            let of = |frame| {
                let loud = loudness(frame);
                Statistics::of(&ClipMaps {
                    error: plane(8, |cell| if cell == 9 { 0.02 * loud } else { 0.001 }),
                    moved: plane(8, |_| 0.02),
                    speed: plane(4, |cell| if cell == 5 { pace * loud } else { 0.1 }),
                    feature_distance: None,
                })
            };
            (0..200).map(of).collect()
        };
        let videos = [1.0, 1.5, 2.0].map(video);
        let detector = Recipe::default().calibrate(&videos.each_ref().map(Vec::as_slice)).unwrap();
        let [error, relative, speed] = [0, 1, 2].map(|part| detector.parts[part].trust);
        assert!(error > 0.9 && relative > 0.9 && speed < 0.3, "{error} {relative} {speed}");
        assert_eq!(detector.recipe(), Recipe::default());
        let clip = detector.judge(&videos[0][7]);
        let counted = clip.parts.iter().zip(&detector.parts);
        let counted = counted.map(|(of, part)| part.weight * part.trust * of.surprise);
        assert!((clip.sum - counted.sum::<f64>()).abs() < 1e-12);
        assert_eq!(trust(vec![1.0; 40]), 1.0);
        assert_eq!(trust(vec![-2.0 * 0.05f64.log10(); 40]), 0.5);
    }

    /// Beyond the knee a part counts by its logarithm.
    #[test]
    fn a_part_counts_in_full_up_to_the_knee() {
        let part = |weight| CalibratedPart {
            part: Part::Speed,
            weight,
            trust: 1.0,
            normal: Normal::fit(&[0.0, 1.0]).unwrap(),
        };
        let says = |surprise| PartSurprise { part: Part::Speed, value: 0.0, surprise };
        let of = |surprise| sum(&[says(1.0), says(surprise)], &[part(1.0), part(0.5)], 2.0);
        assert_eq!([of(1.0), of(2.0)], [1.5, 2.0]);
        let e = std::f64::consts::E;
        assert!((of(1.0 + e) - (1.0 + 0.5 * 3.0)).abs() < 1e-12, "{}", of(1.0 + e));
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
        let four = [1.0, 1.1, 1.2, 1.3].map(statistics);
        let few = Recipe::default().calibrate(&[&four[..1], &[], &four[2..]]).unwrap_err();
        assert_eq!(few.to_string(), "3 normal clips; at least 4 are needed");
        // A video of one clip is no measure of another, and a part of the other is.
        for videos in [[&four[..], &[]], [&four[..1], &four[1..]], [&four[..2], &four[2..]]] {
            Recipe::default().calibrate(&videos).unwrap();
        }
        let broken = Recipe { keep: 1.0, ..Recipe::default() }.validate().unwrap_err().to_string();
        assert_eq!(broken, "detector.keep is 1; accepted: 0 or more, below 1");
        let parts = vec![WeightedPart { part: Part::Speed, weight: 0.0 }];
        let broken = Recipe { parts, ..Recipe::default() }.validate().unwrap_err().to_string();
        assert_eq!(broken, "detector.parts.weight is 0; accepted: above 0, finite");
        let parts = [Part::Speed, Part::LargestError, Part::Speed];
        let parts = parts.map(|part| WeightedPart { part, weight: 1.0 }).into();
        let broken = Recipe { parts, ..Recipe::default() }.validate().unwrap_err().to_string();
        assert_eq!(broken, "detector.parts is speed twice; accepted: each part once");
        let broken = Recipe { knee: -1.0, ..Recipe::default() }.validate().unwrap_err().to_string();
        assert_eq!(broken, "detector.knee is -1; accepted: 0 or more, finite");
    }
}
