//! From raw scores to what a person asked: is this normal?

use protoguard_core::normalise::FrameScore;
use protoguard_core::{Calibration, ClipScore, Detector, ModelCard, Statistics};
use protoguard_proto::{surprise_to_wire, v1};

use crate::error::ServiceError;

/// The calibration for a request's scene; none where the model has none for all scenes.
pub(crate) fn calibration_for<'a>(
    card: &'a ModelCard,
    scene: Option<&str>,
) -> Result<Option<&'a Calibration>, ServiceError> {
    match (card.calibration(scene), scene) {
        (None, Some(asked)) => Err(ServiceError::UnknownScene {
            asked: asked.to_owned(),
            model: card.name.clone(),
            known: card.scenes().map(str::to_owned).collect(),
        }),
        (found, _) => Ok(found),
    }
}

/// Puts regularity, surprise and decision into a response, where there is a target and a
/// calibration. The decision rests on the surprise where the calibration has a detector.
pub(crate) fn add_verdict(
    response: &mut v1::ScoreClipResponse,
    score: &ClipScore,
    calibration: Option<&Calibration>,
    false_alarm_rate: f64,
) {
    let (Some(psnr), Some(calibration)) = (score.psnr, calibration) else { return };
    let raw = FrameScore { psnr, feature_distance: score.feature_distance };
    let regularity = calibration.regularity(&raw);
    response.regularity = Some(regularity.0);
    response.calibration_id = calibration.id.clone();
    if let Some(threshold) = calibration.threshold(false_alarm_rate) {
        response.anomalous = Some(regularity < threshold.regularity);
        response.regularity_threshold = Some(threshold.regularity.0);
        response.false_alarm_rate = Some(threshold.false_alarm_rate);
    }
    let (Some(detector), Some(maps)) = (&calibration.detector, &score.maps) else { return };
    let found = detector.judge(&Statistics::of(maps));
    surprise_to_wire(response, &found);
    let threshold = Detector::threshold(false_alarm_rate);
    response.anomalous = Some(found.surprise > threshold);
    response.surprise_threshold = Some(threshold);
    response.false_alarm_rate = Some(false_alarm_rate);
}

#[cfg(test)]
mod tests {
    use protoguard_core::{ClipMaps, FeatureDistance, Plane, PsnrDb, ScorerFactory, Threshold};

    use super::*;
    use crate::testing::{FakeFactory, detector};

    fn is_anomalous(score: &ClipScore, calibration: &Calibration, rate: f64) -> bool {
        let mut response = v1::ScoreClipResponse::default();
        add_verdict(&mut response, score, Some(calibration), rate);
        response.anomalous.unwrap()
    }

    #[test]
    fn a_frame_on_its_threshold_is_not_yet_anomalous() {
        let mut calibration = FakeFactory::new("hall").card().calibrations[0].clone();
        let (psnr, distance) = (PsnrDb(30.0), Some(FeatureDistance(0.5)));
        let raw = FrameScore { psnr, feature_distance: distance };
        let regularity = calibration.regularity(&raw);
        calibration.thresholds = vec![Threshold { false_alarm_rate: 0.01, regularity }];
        let score =
            ClipScore { psnr: Some(psnr), feature_distance: distance, ..ClipScore::default() };
        assert!(!is_anomalous(&score, &calibration, 0.01));
        calibration.thresholds[0].regularity.0 += 1e-9;
        assert!(is_anomalous(&score, &calibration, 0.01));
        // No frame surprises less than one without any error, and all do as much.
        let plane = Plane { height: 1, width: 1, channels: 1, values: [0.0].into() };
        let maps = ClipMaps {
            error: plane.clone(),
            moved: plane.clone(),
            speed: plane,
            feature_distance: None,
        };
        let score = ClipScore { maps: Some(maps), ..score };
        calibration.detector = Some(detector());
        assert!(!is_anomalous(&score, &calibration, 1.0));
        assert!(!is_anomalous(&score, &calibration, 0.1));
    }
}
