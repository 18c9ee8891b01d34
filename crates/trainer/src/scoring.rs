//! Runs a model over whole videos, by the same port and the same clips as the server.

use protoguard_core::normalise::FrameScore;
use protoguard_core::{Clip, ClipShape, Outputs, PsnrDb, Scorer, ScorerError, ScorerInput};
use protoguard_data::DecodedVideo;

/// The raw scores of one video.
#[derive(Clone, Debug)]
pub struct ScoredVideo {
    /// The video's folder name.
    pub name: String,
    /// Its scene, where known.
    pub scene: Option<String>,
    /// Index of the first frame that has a score: `t`.
    pub first_frame: usize,
    /// The model's scores of frames `first_frame ..`.
    pub scores: Vec<FrameScore>,
    /// PSNR of the copy-frame baseline on the same frames.
    pub copy_frame: Vec<PsnrDb>,
}

/// Why a video could not be scored.
#[derive(Debug, thiserror::Error)]
pub enum ScoringError {
    /// The forward pass failed.
    #[error("video {video}: {source}")]
    Scorer {
        /// Name of the video.
        video: String,
        /// What the model said.
        source: ScorerError,
    },
    /// A score is missing or NaN.
    #[error("video {video}: frame {frame} has no finite score; the model is broken")]
    NotFinite {
        /// Name of the video.
        video: String,
        /// Index of the frame.
        frame: usize,
    },
}

/// Scores every frame that has `t` frames before it, `batch_size` clips at a time.
///
/// `progress` is told the number of clips after every batch.
///
/// # Errors
/// When a batch fails or a score is not finite.
pub fn score_video(
    scorer: &mut dyn Scorer,
    video: &DecodedVideo,
    shape: ClipShape,
    options: &ScoringOptions<'_>,
) -> Result<ScoredVideo, ScoringError> {
    let mut scored = ScoredVideo {
        name: video.name.clone(),
        scene: video.scene.clone(),
        first_frame: shape.past_frames(),
        scores: Vec::new(),
        copy_frame: Vec::new(),
    };
    let mut clips = video.clips(shape).peekable();
    while clips.peek().is_some() {
        let batch: Vec<Clip> = clips.by_ref().take(options.batch_size.max(1)).collect();
        scored.push_batch(scorer, batch)?;
        (options.progress)(scored.scores.len());
    }
    Ok(scored)
}

/// How videos are scored.
pub struct ScoringOptions<'a> {
    /// Clips a forward pass.
    pub batch_size: usize,
    /// Told how many clips of the video are done.
    pub progress: &'a dyn Fn(usize),
}

impl ScoredVideo {
    fn push_batch(
        &mut self,
        scorer: &mut dyn Scorer,
        batch: Vec<Clip>,
    ) -> Result<(), ScoringError> {
        self.copy_frame.extend(batch.iter().filter_map(Clip::copy_frame_psnr));
        let inputs: Vec<ScorerInput> =
            batch.into_iter().map(|clip| ScorerInput { clip, outputs: Outputs::NONE }).collect();
        let scores = scorer
            .score(&inputs)
            .map_err(|source| ScoringError::Scorer { video: self.name.clone(), source })?;
        for score in scores {
            let finite = score.psnr.filter(|psnr| psnr.0.is_finite());
            let distance_is_finite = score.feature_distance.is_none_or(|d| d.0.is_finite());
            let Some(psnr) = finite.filter(|_| distance_is_finite) else {
                let frame = self.first_frame + self.scores.len();
                return Err(ScoringError::NotFinite { video: self.name.clone(), frame });
            };
            self.scores.push(FrameScore { psnr, feature_distance: score.feature_distance });
        }
        Ok(())
    }
}
