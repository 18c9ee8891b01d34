//! Runs a model over whole videos, by the same port and the same clips as the server.

use indicatif::ProgressBar;
use protoguard_core::normalise::FrameScore;
use protoguard_core::{
    Baselines, ClipMaps, ClipScore, ClipShape, Outputs, Plane, Region, Scorer, ScorerError,
    ScorerInput, Statistics, Zones,
};
use protoguard_datasets::{DatasetError, DecodedVideo, OrderedBatches, OrderedConfig, PlacedClip};

use crate::interrupt::{Interrupt, StopSignal};
use crate::zones::OfScene;

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
    /// What a detector judges, of the same frames.
    pub statistics: Vec<Statistics>,
    /// The place that carries the anomaly, of the same frames.
    pub regions: Vec<Region>,
    /// Where the prediction's error exceeds what moved, of the same frames; empty unless asked for.
    pub relative_errors: Vec<Plane>,
    /// What needs no model, on the same frames.
    pub baselines: Vec<Baselines>,
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
    /// Decoded frames can no longer be read.
    #[error(transparent)]
    Data(#[from] DatasetError),
    /// The process was told to stop.
    #[error("stopped by {0}")]
    Stopped(StopSignal),
    /// A score is missing or NaN.
    #[error("video {video}: frame {frame} has no finite score; the model is broken")]
    NotFinite {
        /// Name of the video.
        video: String,
        /// Index of the frame.
        frame: usize,
    },
}

/// How videos are scored.
pub struct ScoringOptions<'a> {
    /// Clips a forward pass.
    pub batch_size: usize,
    /// Whether maps are kept, a few kilobytes a frame.
    pub keep_maps: bool,
    /// Where in the picture it matters, by scene.
    pub zones: &'a OfScene<'a>,
    /// Shows how many clips are done; it is cleared at the end.
    pub bar: ProgressBar,
    /// Where signals that end the process are caught: looked at before every batch.
    pub interrupt: Option<&'static Interrupt>,
}

/// Batches that are read and prepared while one is computed.
const PREFETCH: usize = 4;

/// Scores every frame that has `t` frames before it, `batch_size` clips at a time, across videos.
/// Clips are read, and the baselines computed, on a thread beside the model's.
///
/// # Errors
/// When frames cannot be read, a batch fails, a score is not finite or a signal has come.
pub fn score_videos(
    scorer: &mut dyn Scorer,
    videos: &[DecodedVideo],
    shape: ClipShape,
    options: &ScoringOptions<'_>,
) -> Result<Vec<ScoredVideo>, ScoringError> {
    let mut scored: Vec<ScoredVideo> =
        videos.iter().map(|video| ScoredVideo::new(video, shape)).collect();
    options.bar.set_length(videos.iter().map(|video| video.clip_count(shape) as u64).sum());
    let config = OrderedConfig { shape, batch_size: options.batch_size, prefetch: PREFETCH };
    for batch in OrderedBatches::new(videos.to_vec(), config, Prepared::new) {
        if let Some(signal) = options.interrupt.and_then(Interrupt::signal) {
            options.bar.finish_and_clear();
            return Err(ScoringError::Stopped(signal));
        }
        let (origins, inputs): (Vec<Origin>, Vec<ScorerInput>) =
            batch?.into_iter().map(|prepared| (prepared.origin, prepared.input)).unzip();
        let first = origins.first().map_or(0, |origin| origin.video);
        let failed = |source| ScoringError::Scorer { video: scored[first].name.clone(), source };
        let scores = scorer.score(&inputs).map_err(failed)?;
        for (origin, score) in origins.iter().zip(&scores) {
            scored[origin.video].push(origin, score, options)?;
        }
        options.bar.inc(scores.len() as u64);
    }
    options.bar.finish_and_clear();
    Ok(scored)
}

/// A clip on its way to the model.
struct Prepared {
    origin: Origin,
    input: ScorerInput,
}

/// Where a clip comes from, and what the baselines make of it.
struct Origin {
    video: usize,
    frame: usize,
    baselines: Option<Baselines>,
}

impl Prepared {
    fn new(placed: PlacedClip) -> Self {
        let baselines = placed.clip.baselines();
        Self {
            origin: Origin { video: placed.video, frame: placed.frame, baselines },
            input: ScorerInput { clip: placed.clip, outputs: Outputs::NONE },
        }
    }
}

impl ScoredVideo {
    fn new(video: &DecodedVideo, shape: ClipShape) -> Self {
        let clips = video.clip_count(shape);
        Self {
            name: video.name.clone(),
            scene: video.scene.clone(),
            first_frame: shape.past_frames(),
            scores: Vec::with_capacity(clips),
            statistics: Vec::with_capacity(clips),
            regions: Vec::with_capacity(clips),
            relative_errors: Vec::new(),
            baselines: Vec::with_capacity(clips),
        }
    }

    fn push(
        &mut self,
        origin: &Origin,
        score: &ClipScore,
        options: &ScoringOptions<'_>,
    ) -> Result<(), ScoringError> {
        let psnr = score.psnr.filter(|psnr| psnr.0.is_finite());
        let distance_is_finite = score.feature_distance.is_none_or(|d| d.0.is_finite());
        let maps = score.maps.as_ref();
        let zones = (options.zones)(self.scene.as_deref());
        let maps = maps.map(|maps| Zones::weighed(zones, maps));
        let maps = maps.as_deref();
        let statistics = maps.map(Statistics::of).filter(Statistics::is_finite);
        let (Some(psnr), true, Some(statistics), Some(baselines)) =
            (psnr, distance_is_finite, statistics, origin.baselines)
        else {
            return Err(ScoringError::NotFinite { video: self.name.clone(), frame: origin.frame });
        };
        self.scores.push(FrameScore { psnr, feature_distance: score.feature_distance });
        self.statistics.push(statistics);
        self.regions.extend(maps.map(Region::of));
        let kept = maps.filter(|_| options.keep_maps);
        self.relative_errors.extend(kept.map(ClipMaps::relative_error));
        self.baselines.push(baselines);
        Ok(())
    }
}
