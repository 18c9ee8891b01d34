//! How a camera looks on its normal video.

use protoguard_core::{CameraBounds, Frame, Look};
use protoguard_datasets::{DatasetError, DecodedVideo};

/// The bounds of the videos' frames; none for fewer than [`CameraBounds::MIN_FRAMES`].
pub(super) fn bounds(videos: &[&DecodedVideo]) -> Result<Option<CameraBounds>, DatasetError> {
    let frames: usize = videos.iter().map(|video| video.len()).sum();
    if frames < CameraBounds::MIN_FRAMES {
        tracing::warn!(
            frames,
            needed = CameraBounds::MIN_FRAMES,
            "little normal video: a camera that is dark, frozen, covered or moved will not be told"
        );
        return Ok(None);
    }
    let looks: Vec<Vec<Look>> =
        videos.iter().map(|video| looks(video)).collect::<Result<_, _>>()?;
    Ok(CameraBounds::of(&looks))
}

fn looks(video: &DecodedVideo) -> Result<Vec<Look>, DatasetError> {
    let mut before: Option<Frame> = None;
    let look = |index| {
        let frame = video.frame(index)?;
        Ok(frame.map(|frame| {
            let look = Look::of(&frame, before.as_ref());
            before = Some(frame);
            look
        }))
    };
    (0..video.len()).map(look).filter_map(Result::transpose).collect()
}
