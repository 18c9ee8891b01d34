//! What a report is made of: the scores and labels of the test videos, and what is known of them.

use protoguard_core::normalise::Grouping;
use protoguard_core::{Calibration, Mask};

use super::normalised::{Normalised, Signal, calibration_of, normalise};
use crate::scoring::ScoredVideo;

/// The raw material of a report.
#[derive(Debug)]
pub struct Measured<'a> {
    /// Scores of every test video.
    pub videos: &'a [ScoredVideo],
    /// Labels of the scored frames of each video, true for abnormal.
    pub labels: &'a [Vec<bool>],
    /// The checkpoint's calibrations.
    pub calibrations: &'a [Calibration],
    /// What is known beside that.
    pub beside: &'a Beside,
}

/// What is known of the test videos beside their scores and labels.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// The abnormal pixels of the scored frames of each video, where they are told.
    pub masks: Vec<Option<Vec<Mask>>>,
    /// Frames a second of the videos, where known.
    pub frames_per_second: Option<f64>,
}

impl Measured<'_> {
    pub(super) fn normalise(&self, grouping: Grouping, signal: Signal) -> Option<Normalised> {
        normalise(self.videos, grouping, signal, self.calibrations)
    }

    /// The anomaly score above which a frame of a video raises an alarm, where its calibration,
    /// its scene's or else the default one, has a threshold for this rate of false alarms.
    pub(super) fn threshold(&self, video: usize, false_alarm_rate: f64) -> Option<f64> {
        let calibration = calibration_of(self.calibrations, self.videos[video].scene.as_deref())?;
        Some(calibration.threshold(false_alarm_rate)?.regularity.anomaly().0)
    }
}
