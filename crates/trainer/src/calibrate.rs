//! Bounds and thresholds from held-out normal video, by the scorer that will serve.

use std::collections::BTreeMap;
use std::sync::Arc;

use protoguard_core::normalise::{FrameScore, GAMMA};
use protoguard_core::{Calibration, CalibrationError, ClipShape, Scorer};
use protoguard_data::{DecodedVideo, Half};
use protoguard_model::{
    ActivationRanges, Checkpoint, Network, Precision, ScorerOptions, TchScorerFactory,
};

use crate::cli::CalibrateArgs;
use crate::scoring::{ScoringError, ScoringOptions, score_video};
use crate::source::{Source, name_of};
use crate::{output, progress};

/// Clips that activations are measured on: the largest of more would hardly be larger.
const RANGE_CLIPS: usize = 32;

/// The `calibrate` command: adds, or replaces, the calibration of a scene, measured on normal
/// video of its camera, and widens the activation ranges to it. Weights stay as they are; the
/// checkpoint gets a new hash.
///
/// # Errors
/// When the checkpoint or the data cannot be read, the scene has no name, or the file cannot be
/// written.
pub fn run(args: &CalibrateArgs) -> anyhow::Result<()> {
    output::check(&args.out, args.overwrite)?;
    anyhow::ensure!(!args.scene.is_empty(), "--scene is empty; a name is needed");
    let checkpoint = Arc::new(Checkpoint::read(&args.checkpoint)?);
    let shape = checkpoint.content().model.shape;
    let source = Source::open(&args.data, &args.source)?;
    let mut videos = source.load(&source.videos(Half::Training)?, shape)?;
    videos.iter_mut().for_each(|video| video.scene = Some(args.scene.clone()));
    let options = ScorerOptions {
        name: name_of(&args.checkpoint),
        device: args.device.parse()?,
        threads: (args.threads > 0).then_some(args.threads),
        libtorch: args.libtorch.clone(),
        precision: Precision::F32,
    };
    let mut scorer = TchScorerFactory::new(Arc::clone(&checkpoint), options).build_scorer()?;
    let gamma = checkpoint.content().calibrations.first().map_or(GAMMA, |c| c.normaliser.gamma);
    let found = calibrate(&mut scorer, &videos, shape, gamma)?;
    let network = Network::from_checkpoint(&checkpoint, scorer.graph().device())?;
    let ranges = activation_ranges(&network, &videos)?;
    let mut content = Arc::unwrap_or_clone(checkpoint).into_content();
    content.activation_ranges = content.activation_ranges.joined(ranges);
    let of_scene = |calibration: &Calibration| calibration.scene.as_ref() == Some(&args.scene);
    content.calibrations.retain(|calibration| !of_scene(calibration));
    content.calibrations.extend(found.into_iter().filter(of_scene));
    let checkpoint = Checkpoint::new(content)?;
    checkpoint.write(&args.out)?;
    let frames: usize = videos.iter().map(|video| video.clip_count(shape)).sum();
    tracing::info!(
        version = checkpoint.version(),
        scene = args.scene,
        frames,
        "wrote {}",
        args.out.display()
    );
    Ok(())
}

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

/// What int8 makes its steps of: how large activations become on clips from all over the video.
///
/// # Errors
/// When a frame cannot be read or a clip cannot be scored.
pub fn activation_ranges(
    network: &Network,
    held_out: &[DecodedVideo],
) -> anyhow::Result<ActivationRanges> {
    let shape = network.config().shape;
    let windows = held_out
        .iter()
        .flat_map(|video| (0..video.clip_count(shape)).map(move |first| (video, first)));
    let windows: Vec<_> = windows.collect();
    let apart = windows.len().div_ceil(RANGE_CLIPS).max(1);
    let clip = |&(video, first): &(&DecodedVideo, usize)| video.clip_at(shape, first).transpose();
    let clips = windows.iter().step_by(apart).filter_map(clip).collect::<Result<Vec<_>, _>>()?;
    Ok(ActivationRanges::measure(network, &clips)?)
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
