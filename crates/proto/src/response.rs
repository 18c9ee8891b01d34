use protoguard_core::ClipScore;

use crate::v1;

/// The raw scores of a response. Its pictures need an encoder, its decision a calibration, and
/// both are the service's to add.
pub fn scores_to_wire(score: &ClipScore) -> v1::ScoreClipResponse {
    v1::ScoreClipResponse {
        psnr_db: score.psnr.map(|psnr| psnr.0),
        feature_distance: score.feature_distance.map(|distance| distance.0),
        ..v1::ScoreClipResponse::default()
    }
}
