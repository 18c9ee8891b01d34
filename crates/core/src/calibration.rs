//! Fixed bounds and thresholds from held-out normal frames, so that a live frame can be judged
//! without its future.

use serde::{Deserialize, Serialize};

use crate::normalise::{FrameScore, Normaliser, quantile};

use crate::{CameraBounds, Detector, Regularity, Zones};

/// Share of held-out frames cut off at either end of the bounds.
pub const TAIL: f64 = 0.001;

/// The rates of false alarms for which every calibration has a threshold.
pub const FALSE_ALARM_RATES: [f64; 2] = [0.01, 0.05];

/// What is normal for a camera's scene: bounds and thresholds of the regularity, measured on normal
/// frames that no weight was fitted to, and the detector of the served score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Names this calibration in responses.
    pub id: String,
    /// The scene it was made for; none for all scenes together.
    pub scene: Option<String>,
    /// How many held-out normal frames it rests on.
    pub frames: usize,
    /// The bounds and their weighting.
    pub normaliser: Normaliser,
    /// One for each of [`FALSE_ALARM_RATES`].
    pub thresholds: Vec<Threshold>,
    /// The served score, which neither clamps nor averages over the frame; absent in checkpoints
    /// of earlier formats, whose verdict rests on the regularity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<Detector>,
    /// How the camera looks; absent where that was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraBounds>,
    /// Where in the picture the detector looks; absent for all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zones: Option<Zones>,
}

/// The regularity below which a frame is called anomalous.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// Share of held-out normal frames that fall below, in (0, 1).
    pub false_alarm_rate: f64,
    /// Below it a frame is anomalous.
    pub regularity: Regularity,
}

/// Held-out frames that no calibration can be made from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalibrationError {
    /// There were none.
    #[error("calibration needs held-out normal frames; found 0, at least 1 is needed")]
    NoFrames,
    /// A score was NaN or infinite.
    #[error("held-out frame {index} has a score that is not finite; the model is broken")]
    NotFinite {
        /// Position of the frame among those given.
        index: usize,
    },
}

impl Calibration {
    /// Bounds at the 0.1 % and 99.9 % quantiles of `held_out`, and thresholds at the
    /// [`FALSE_ALARM_RATES`] on the same frames.
    ///
    /// # Errors
    /// When there are no frames or a score is not finite.
    pub fn from_held_out(
        scene: Option<&str>,
        held_out: &[FrameScore],
        gamma: f64,
    ) -> Result<Self, CalibrationError> {
        let finite = |score: &FrameScore| {
            score.psnr.0.is_finite() && score.feature_distance.is_none_or(|d| d.0.is_finite())
        };
        if let Some(index) = held_out.iter().position(|score| !finite(score)) {
            return Err(CalibrationError::NotFinite { index });
        }
        let normaliser =
            Normaliser::quantiles(held_out, TAIL, gamma).ok_or(CalibrationError::NoFrames)?;
        let regularities: Vec<f64> =
            held_out.iter().map(|score| normaliser.regularity(score).0).collect();
        let thresholds = FALSE_ALARM_RATES
            .iter()
            .filter_map(|&false_alarm_rate| {
                let regularity = Regularity(quantile(&regularities, false_alarm_rate)?);
                Some(Threshold { false_alarm_rate, regularity })
            })
            .collect();
        Ok(Self {
            id: scene.unwrap_or("default").to_owned(),
            scene: scene.map(str::to_owned),
            frames: held_out.len(),
            normaliser,
            thresholds,
            detector: None,
            camera: None,
            zones: None,
        })
    }

    /// The same with the score that is to be served.
    #[must_use]
    pub fn with_detector(self, detector: Detector) -> Self {
        Self { detector: Some(detector), ..self }
    }

    /// The same with how the camera looks.
    #[must_use]
    pub fn with_camera(self, camera: CameraBounds) -> Self {
        Self { camera: Some(camera), ..self }
    }

    /// The same with zones, which its detector was made with.
    #[must_use]
    pub fn with_zones(self, zones: Option<Zones>) -> Self {
        Self { zones, ..self }
    }

    /// The regularity of a live frame.
    pub fn regularity(&self, score: &FrameScore) -> Regularity {
        self.normaliser.regularity(score)
    }

    /// The threshold for a rate of false alarms, where there is one.
    pub fn threshold(&self, false_alarm_rate: f64) -> Option<Threshold> {
        let same =
            |threshold: &&Threshold| (threshold.false_alarm_rate - false_alarm_rate).abs() < 1e-9;
        self.thresholds.iter().find(same).copied()
    }

    /// Whether a frame can be called anomalous at a rate of false alarms: with a detector at any
    /// in (0, 1), without one at those of the thresholds.
    pub fn can_alarm(&self, false_alarm_rate: f64) -> bool {
        self.detector.is_some() || self.threshold(false_alarm_rate).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise::GAMMA;
    use crate::{ClipMaps, FeatureDistance, Plane, PsnrDb, Recipe, Statistics};

    fn held_out(frames: u32) -> Vec<FrameScore> {
        (0..frames)
            .map(|i| FrameScore {
                psnr: PsnrDb(30.0 + f64::from(i % 100) * 0.1),
                feature_distance: Some(FeatureDistance(0.2 + f64::from(i % 7) * 0.01)),
            })
            .collect()
    }

    #[test]
    fn thresholds_hold_their_rate_on_the_frames_they_came_from() {
        let frames = held_out(1000);
        let calibration = Calibration::from_held_out(None, &frames, GAMMA).unwrap();
        for rate in FALSE_ALARM_RATES {
            let threshold = calibration.threshold(rate).unwrap().regularity;
            let alarms = frames.iter().filter(|f| calibration.regularity(f) < threshold).count();
            let found = alarms as f64 / frames.len() as f64;
            assert!((found - rate).abs() <= 0.01, "{found} false alarms at {rate}");
        }
        assert!(calibration.threshold(0.5).is_none());
        assert!(calibration.can_alarm(0.05) && !calibration.can_alarm(0.5));
    }

    #[test]
    fn with_a_detector_any_rate_can_alarm() {
        let clip = ClipMaps {
            error: Plane { height: 1, width: 1, channels: 1, values: [0.1].into() },
            moved: Plane { height: 1, width: 1, channels: 1, values: [0.1].into() },
            speed: Plane { height: 1, width: 1, channels: 1, values: [1.0].into() },
            feature_distance: None,
        };
        let clips = [0; 8].map(|_| Statistics::of(&clip));
        let detector = Recipe::default().calibrate(&[&clips], &[]).unwrap();
        let calibration = Calibration::from_held_out(None, &held_out(10), GAMMA).unwrap();
        let calibration = calibration.with_detector(detector.clone());
        assert_eq!(calibration.detector, Some(detector));
        assert!(calibration.can_alarm(0.05) && calibration.can_alarm(0.5));
    }

    #[test]
    fn a_frame_far_outside_is_clamped_and_anomalous() {
        let calibration = Calibration::from_held_out(Some("hall"), &held_out(500), GAMMA).unwrap();
        let odd = FrameScore { psnr: PsnrDb(5.0), feature_distance: Some(FeatureDistance(1.9)) };
        assert_eq!(calibration.regularity(&odd), Regularity(0.0));
        assert!(calibration.threshold(0.01).unwrap().regularity > Regularity(0.0));
        assert_eq!(calibration.id, "hall");
    }

    #[test]
    fn nothing_to_rest_on_is_an_error() {
        assert_eq!(Calibration::from_held_out(None, &[], GAMMA), Err(CalibrationError::NoFrames));
        let broken = [FrameScore { psnr: PsnrDb(f64::NAN), feature_distance: None }];
        let error = Calibration::from_held_out(None, &broken, GAMMA);
        assert_eq!(error, Err(CalibrationError::NotFinite { index: 0 }));
        let whole = held_out(1)[0];
        let broken = FrameScore { feature_distance: Some(FeatureDistance(f64::NAN)), ..whole };
        let error = Calibration::from_held_out(None, &[whole, broken], GAMMA);
        assert_eq!(error, Err(CalibrationError::NotFinite { index: 1 }));
    }
}
