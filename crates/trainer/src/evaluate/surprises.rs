//! The served score of whole videos: what a camera's stream would have been told, frame by frame.

use protoguard_core::{Calibration, Detector, Part, Statistics};

use super::measured::Measured;
use super::normalised::detector_of;
use crate::scoring::ScoredVideo;

/// The surprise of every scored frame of one video.
#[derive(Clone, Debug, PartialEq)]
pub struct Surprises {
    /// Of each frame by itself.
    pub instant: Vec<f64>,
    /// After causal smoothing, which starts anew with the video.
    pub smoothed: Vec<f64>,
}

impl Measured<'_> {
    /// The smoothed surprise of every scored frame, by video; nothing where a video's calibration
    /// has no detector.
    pub(super) fn smoothed(&self) -> Option<Vec<Vec<f64>>> {
        let of = |video| Some(Surprises::of(video, self.calibrations)?.smoothed);
        self.videos.iter().map(of).collect()
    }
}

impl Surprises {
    /// By the calibration of the video's scene; nothing where that has no detector.
    pub fn of(video: &ScoredVideo, calibrations: &[Calibration]) -> Option<Self> {
        Some(Self::by(detector_of(calibrations, video)?, video))
    }

    fn by(detector: &Detector, video: &ScoredVideo) -> Self {
        let mut smoother = detector.smoother();
        let judged = video.statistics.iter().map(|found| detector.judge(found));
        let (instant, smoothed) =
            judged.map(|found| (found.surprise, smoother.push(found.sum))).unzip();
        Self { instant, smoothed }
    }
}

/// A part's statistic as a detector takes it, or as it is where there is none; nothing where the
/// model has no such map.
pub(super) fn statistic(
    part: Part,
    found: &Statistics,
    detector: Option<&Detector>,
) -> Option<f64> {
    detector.map_or_else(|| found.get(part), |detector| detector.statistic(part, found))
}
