//! From raw scores to what a person asked: is this normal?

use protoguard_core::normalise::FrameScore;
use protoguard_core::{Calibration, ClipScore, ModelCard};
use protoguard_proto::v1;

use crate::ServiceError;

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

/// Puts regularity and decision into a response, where there is a target and a calibration.
pub(crate) fn add_verdict(
    response: &mut v1::ScoreClipResponse,
    score: &ClipScore,
    calibration: Option<&Calibration>,
    false_alarm_rate: f64,
) {
    let (Some(psnr), Some(calibration)) = (score.psnr, calibration) else { return };
    let score = FrameScore { psnr, feature_distance: score.feature_distance };
    let regularity = calibration.regularity(&score);
    response.regularity = Some(regularity.0);
    response.calibration_id = calibration.id.clone();
    if let Some(threshold) = calibration.threshold(false_alarm_rate) {
        response.anomalous = Some(regularity < threshold.regularity);
        response.regularity_threshold = Some(threshold.regularity.0);
        response.false_alarm_rate = Some(threshold.false_alarm_rate);
    }
}
