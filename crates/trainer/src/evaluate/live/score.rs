use protoguard_core::normalise::{Bounds, Grouping};
use protoguard_core::{Calibration, Detector, Part, PsnrDb, Recipe, Smoothing};
use serde::{Serialize, Serializer};

use super::alarm::FALSE_ALARM_RATE;
use crate::evaluate::measured::Measured;
use crate::evaluate::normalised::{Signal, detector_of};
use crate::evaluate::surprises::{Surprises, statistic};
use crate::scoring::ScoredVideo;

/// A score that frames can be ranked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// The paper's S: PSNR and feature distance, weighted.
    Paper,
    /// PSNR alone, not clamped.
    Psnr,
    /// Feature distance alone, the mean over queries, not clamped.
    FeatureDistance,
    /// The served surprise of a frame by itself.
    Instant,
    /// The served surprise after causal smoothing: what raises the alarm.
    Served,
    /// A statistic of the model's maps alone.
    Part(Part),
    /// Baseline: the target is the last frame again.
    CopyFrame,
    /// Baseline: the same where a box of 16 × 16 pixels differs most.
    CopyFrameBox,
    /// Baseline: what moves goes on, `2 I_t − I_(t−1)`.
    Extrapolation,
    /// Baseline: speed of blocks of pixels, smoothed as the served score is.
    Motion,
}

impl Score {
    /// Every score, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        let first = [Self::Paper, Self::Psnr, Self::FeatureDistance, Self::Instant, Self::Served];
        let last = [Self::CopyFrame, Self::CopyFrameBox, Self::Extrapolation, Self::Motion];
        first.into_iter().chain(Part::ALL.map(Self::Part)).chain(last)
    }

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Psnr => "psnr",
            Self::FeatureDistance => "feature_distance_mean",
            Self::Instant => "served_instant",
            Self::Served => "served",
            Self::Part(part) => part.name(),
            Self::CopyFrame => "copy_frame",
            Self::CopyFrameBox => "copy_frame_box",
            Self::Extrapolation => "extrapolation",
            Self::Motion => "motion_smoothed",
        }
    }

    /// Its name for people, at most 31 characters.
    pub fn title(self) -> &'static str {
        match self {
            Self::Paper => "S of the paper",
            Self::Psnr => "PSNR alone",
            Self::FeatureDistance => "DIST alone",
            Self::Instant => "served, each frame by itself",
            Self::Served => "served, smoothed: the alarm",
            Self::Part(Part::PredictionError) => "part: mean error",
            Self::Part(Part::LargestError) => "part: largest error",
            Self::Part(Part::RelativeError) => "part: error over motion",
            Self::Part(Part::Speed) => "part: speed",
            Self::Part(Part::FeatureDistance) => "part: largest DIST",
            Self::CopyFrame => "no model: copy frame",
            Self::CopyFrameBox => "no model: copy frame, worst box",
            Self::Extrapolation => "no model: extrapolation",
            Self::Motion => "no model: speed, smoothed",
        }
    }
}

impl Serialize for Score {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A score of every scored frame; large is unusual.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Which.
    pub score: Score,
    /// One list a video, scaled to [0, 1] by what the video shows from its beginning to its end.
    pub by_video: Vec<Vec<f64>>,
    /// On one scale for all videos, as a live camera would have it; absent where that needs a
    /// calibration and the checkpoint has none.
    pub global: Option<Vec<Vec<f64>>>,
    /// What raises an alarm, by video: exceeded by [`FALSE_ALARM_RATE`] of the normal
    /// frames. Absent where the checkpoint does not tell.
    pub thresholds: Option<Vec<f64>>,
}

impl Candidate {
    /// A score of the measured videos; nothing where the model or the checkpoint has none.
    pub fn of(score: Score, measured: &Measured<'_>) -> Option<Self> {
        if score == Score::Paper {
            return Self::paper(measured);
        }
        let frames: Vec<Vec<f64>> = measured
            .videos
            .iter()
            .map(|video| values(score, video, measured.calibrations))
            .collect::<Option<_>>()?;
        let threshold =
            |video: &ScoredVideo| threshold(score, detector_of(measured.calibrations, video)?);
        let thresholds = measured.videos.iter().map(threshold).collect();
        let by_video = frames.iter().map(|video| scaled(video)).collect();
        Some(Self { score, by_video, global: Some(frames), thresholds })
    }

    /// By video PSNR and feature distance are scaled before they are weighted (Eq. 21, 24, 25); live
    /// by the calibration's bounds.
    fn paper(measured: &Measured<'_>) -> Option<Self> {
        let by_video = measured.normalise(Grouping::Video, Signal::Combined)?.videos;
        let calibrated = measured.normalise(Grouping::Calibrated, Signal::Combined);
        let videos = 0..measured.videos.len();
        let thresholds = videos.map(|video| measured.threshold(video, FALSE_ALARM_RATE)).collect();
        let global = calibrated.map(|found| found.videos);
        Some(Self { score: Score::Paper, by_video, global, thresholds })
    }
}

fn threshold(score: Score, detector: &Detector) -> Option<f64> {
    let surprise = Detector::threshold(FALSE_ALARM_RATE);
    match score {
        Score::Instant | Score::Served => Some(surprise),
        Score::Part(part) => {
            let of = detector.parts.iter().find(|of| of.part == part)?;
            Some(of.normal.value_at(surprise))
        }
        _ => None,
    }
}

/// One video's scores in their own unit.
fn values(score: Score, video: &ScoredVideo, calibrations: &[Calibration]) -> Option<Vec<f64>> {
    let surprises = || Surprises::of(video, calibrations);
    let found = match score {
        Score::Paper => return None,
        Score::Psnr => video.scores.iter().map(|found| -found.psnr.0).collect(),
        Score::FeatureDistance => {
            let distances = video.scores.iter().map(|found| Some(found.feature_distance?.0));
            distances.collect::<Option<_>>()?
        }
        Score::Instant => surprises()?.instant,
        Score::Served => surprises()?.smoothed,
        Score::Part(part) => {
            let detector = detector_of(calibrations, video);
            let values = video.statistics.iter().map(|found| statistic(part, found, detector));
            values.collect::<Option<_>>()?
        }
        Score::CopyFrame => unusual(video.baselines.iter().map(|found| Some(found.copy_frame)))?,
        Score::CopyFrameBox => {
            unusual(video.baselines.iter().map(|found| Some(found.copy_frame_box)))?
        }
        Score::Extrapolation => unusual(video.baselines.iter().map(|found| found.extrapolation))?,
        Score::Motion => {
            let mut smoothing = Smoothing::new(keep(video, calibrations));
            let speeds = video.statistics.iter().map(|found| found.get(Part::Speed));
            speeds.map(|speed| Some(smoothing.push(speed?))).collect::<Option<_>>()?
        }
    };
    Some(found)
}

fn unusual(psnr: impl Iterator<Item = Option<PsnrDb>>) -> Option<Vec<f64>> {
    psnr.map(|psnr| Some(-psnr?.0)).collect()
}

fn keep(video: &ScoredVideo, calibrations: &[Calibration]) -> f64 {
    detector_of(calibrations, video).map_or(Recipe::default().keep, |detector| detector.keep)
}

/// By the extremes of the video; a video that is all the same is all normal.
fn scaled(video: &[f64]) -> Vec<f64> {
    let bounds = Bounds::of(video.iter().copied());
    let position = |&value: &f64| bounds.map_or(0.0, |bounds| bounds.position(value, 0.0));
    video.iter().map(position).collect()
}
