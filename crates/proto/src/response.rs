use protoguard_core::{ClipScore, ClipSurprise, PartSurprise, Region};

use crate::v1;

/// The raw scores of a response and the place that carries them. Its pictures need an encoder, its
/// decision a calibration, and both are the service's to add.
pub fn scores_to_wire(score: &ClipScore) -> v1::ScoreClipResponse {
    v1::ScoreClipResponse {
        psnr_db: score.psnr.map(|psnr| psnr.0),
        feature_distance: score.feature_distance.map(|distance| distance.0),
        region: score.maps.as_ref().map(|maps| v1::Region::from(Region::of(maps))),
        ..v1::ScoreClipResponse::default()
    }
}

/// Adds how rare a clip is, and why.
pub fn surprise_to_wire(response: &mut v1::ScoreClipResponse, found: &ClipSurprise) {
    response.surprise = Some(found.surprise);
    response.surprise_sum = Some(found.sum);
    response.parts = found.parts.iter().copied().map(v1::PartSurprise::from).collect();
}

impl From<PartSurprise> for v1::PartSurprise {
    fn from(of: PartSurprise) -> Self {
        let part = v1::Part::from(of.part).into();
        Self { part, value: of.value, surprise: of.surprise }
    }
}

impl From<v1::Region> for Region {
    fn from(region: v1::Region) -> Self {
        let v1::Region { left, top, right, bottom, share } = region;
        Self { left, top, right, bottom, share }
    }
}

impl From<Region> for v1::Region {
    fn from(region: Region) -> Self {
        let Region { left, top, right, bottom, share } = region;
        Self { left, top, right, bottom, share }
    }
}
