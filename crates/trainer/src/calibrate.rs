//! Bounds and thresholds from held-out normal video, by the scorer that will serve.

use std::collections::BTreeMap;

use protoguard_core::normalise::FrameScore;
use protoguard_core::{Calibration, CalibrationError, ClipShape, Scorer};
use protoguard_data::DecodedVideo;

use crate::progress;
use crate::scoring::{ScoringError, ScoringOptions, score_video};

/// Why no calibration could be made.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// A frame could not be scored.
    #[error(transparent)]
    Scoring(#[from] ScoringError),
    /// The scores are no ground to stand on.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
}

/// The calibration over all held-out video, and one for each scene where scenes are known.
///
/// # Errors
/// When there is no held-out video or it cannot be scored.
pub fn calibrate(
    scorer: &mut dyn Scorer,
    held_out: &[DecodedVideo],
    shape: ClipShape,
    gamma: f64,
) -> Result<Vec<Calibration>, CalibrateError> {
    let clips: usize = held_out.iter().map(|video| video.clip_count(shape)).sum();
    let bar = progress::bar(clips as u64, "calibrating");
    let mut all: Vec<FrameScore> = Vec::with_capacity(clips);
    let mut by_scene: BTreeMap<String, Vec<FrameScore>> = BTreeMap::new();
    for video in held_out {
        let before = all.len();
        let progress = |done: usize| bar.set_position((before + done) as u64);
        let options = ScoringOptions { batch_size: 8, progress: &progress };
        let scored = score_video(scorer, video, shape, &options)?;
        if let Some(scene) = scored.scene {
            by_scene.entry(scene).or_default().extend(&scored.scores);
        }
        all.extend(scored.scores);
    }
    bar.finish_and_clear();
    let mut calibrations = vec![Calibration::from_held_out(None, &all, gamma)?];
    for (scene, scores) in &by_scene {
        calibrations.push(Calibration::from_held_out(Some(scene), scores, gamma)?);
    }
    Ok(calibrations)
}
