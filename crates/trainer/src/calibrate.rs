//! Bounds and thresholds from normal video, by the scorer that will serve.

mod accepted;
mod camera;
#[cfg(test)]
mod command_tests;
mod normal;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use protoguard_checkpoint::{ActivationRanges, Checkpoint, CheckpointContent, Precision};
use protoguard_core::normalise::{FrameScore, GAMMA};
use protoguard_core::{
    Calibration, CalibrationError, ClipShape, Detector, DetectorError, Recipe, Scorer, Zones,
};
use protoguard_datasets::{DatasetError, DecodedVideo, Half};
use protoguard_frames::pace::Wanted;
use protoguard_model::{Network, TchScorerFactory, measure_ranges};

use crate::cli::CalibrateArgs;
use crate::config::{Layers, TrainerConfig};
use crate::interrupt::Interrupt;
use crate::output;
use crate::scoring::ScoringError;
use crate::source::{Source, wanted_by};
use crate::zones;

pub(crate) use normal::LEARNT_CLIPS;
use normal::{NormalScores, Scored, ScoredNormal};

/// Clips that activations are measured on: the largest of more would hardly be larger.
const RANGE_CLIPS: usize = 32;

/// The `calibrate` command: adds, or replaces, the calibration of a scene or that of all scenes,
/// measured on normal video, and widens the activation ranges to it. Weights stay as they are; the
/// checkpoint gets a new hash.
///
/// # Errors
/// When the checkpoint or the data cannot be read, the scene has no name, the calibration that is
/// there raises an alarm in the video, or the file cannot be written.
pub fn run(args: &CalibrateArgs) -> anyhow::Result<()> {
    output::check(&args.out, args.overwrite)?;
    let scene = args.scene.as_ref();
    anyhow::ensure!(
        scene.is_none_or(|name| !name.is_empty()),
        "--scene is empty; a name is needed"
    );
    let checkpoint = Arc::new(Checkpoint::read(&args.checkpoint)?);
    let shape = checkpoint.content().model.shape;
    let wanted = wanted_by(&checkpoint.content().training);
    let video_of = |root: &Path| normal_video(root, args, (shape, wanted));
    let videos = video_of(&args.data)?;
    let options = args.scorer.options(&args.checkpoint, Precision::F32);
    let mut scorer = TchScorerFactory::new(Arc::clone(&checkpoint), options).build_scorer()?;
    let options = options_of(checkpoint.content(), args)?;
    let mut learnt = match &args.learnt {
        Some(root) => video_of(root)?,
        None => Vec::new(),
    };
    leave_out(&mut learnt, &videos)?;
    let normal = NormalVideo { held_out: &videos, learnt: &learnt };
    let scored = ScoredNormal::new(&mut scorer, normal, shape, &options)?;
    if !args.accept_alarms {
        let content = checkpoint.content();
        let before = content.calibrations.iter().find(|found| found.scene.as_ref() == scene);
        accepted::check(before, &scored, content.training.frame_interval, &options.zones)?;
    }
    let found = scored.calibrations(&options)?;
    let network = Network::from_checkpoint(&checkpoint, scorer.graph().device())?;
    let ranges = activation_ranges(&network, &videos)?;
    let mut content = Arc::unwrap_or_clone(checkpoint).into_content();
    content.activation_ranges = content.activation_ranges.joined(ranges);
    let of_scene = |calibration: &Calibration| calibration.scene.as_ref() == scene;
    content.calibrations.retain(|calibration| !of_scene(calibration));
    content.calibrations.extend(found.into_iter().filter(of_scene));
    let checkpoint = Checkpoint::new(content)?;
    checkpoint.write(&args.out)?;
    let frames: usize = videos.iter().map(|video| video.clip_count(shape)).sum();
    tracing::info!(
        version = checkpoint.version(),
        scene = scene.map(String::as_str),
        frames,
        "wrote {}",
        args.out.display()
    );
    Ok(())
}

/// The videos of `--data` or `--learnt`, of the scene that is calibrated.
fn normal_video(
    root: &Path,
    args: &CalibrateArgs,
    (shape, wanted): (ClipShape, Wanted),
) -> anyhow::Result<Vec<DecodedVideo>> {
    let source = Source::open(root, &args.source)?;
    let mut videos = source.load(&source.videos(Half::Training, wanted)?, shape)?;
    videos.iter_mut().for_each(|video| video.scene = args.scene.clone());
    Ok(videos)
}

/// Leaves out what is held out, by name: a data set's folder has both.
fn leave_out(learnt: &mut Vec<DecodedVideo>, held_out: &[DecodedVideo]) -> anyhow::Result<()> {
    let names: BTreeSet<&str> = held_out.iter().map(|video| video.name.as_str()).collect();
    let before = learnt.len();
    learnt.retain(|video| !names.contains(video.name.as_str()));
    let left_out = before - learnt.len();
    anyhow::ensure!(
        before == 0 || !learnt.is_empty(),
        "every video of --learnt has the name of one of --data, and is taken for it; other videos, or other names, are needed"
    );
    if left_out > 0 {
        tracing::info!(left_out, used = learnt.len(), "videos of --learnt that --data has as well");
    }
    Ok(())
}

/// What the checkpoint's first calibration was made with, and the defaults where it has none; the
/// detector is the configuration's where there is one, and zones are those of the scene's calibration
/// unless others are given.
fn options_of(
    content: &CheckpointContent,
    args: &CalibrateArgs,
) -> anyhow::Result<CalibrationOptions> {
    let config = args.config.as_deref();
    let first = content.calibrations.first();
    let detector = match config {
        Some(_) => TrainerConfig::load(&Layers { file: config, ..Layers::default() })?.detector,
        None => first
            .and_then(|found| found.detector.as_ref())
            .map(Detector::recipe)
            .unwrap_or_default(),
    };
    let gamma = first.map_or(GAMMA, |calibration| calibration.normaliser.gamma);
    let batch_size = args.scorer.batch_size;
    let of_scene = |found: &&Calibration| found.scene == args.scene;
    let before = content.calibrations.iter().find(of_scene).and_then(|found| found.zones.clone());
    let zones = match &args.zones {
        Some(path) => Some(zones::read(path)?),
        None => before.filter(|_| !args.no_zones),
    };
    Ok(CalibrationOptions { gamma, detector, zones, batch_size, interrupt: None })
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
    /// Nor are the statistics of their maps.
    #[error(transparent)]
    Detector(#[from] DetectorError),
    /// Frames cannot be read for how the camera looks.
    #[error(transparent)]
    Data(#[from] DatasetError),
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
    Ok(measure_ranges(network, &clips)?)
}

/// How a calibration is made.
#[derive(Clone, Debug)]
pub struct CalibrationOptions {
    /// Weight of the PSNR against the feature distance in the paper's regularity.
    pub gamma: f64,
    /// What the served score is made of.
    pub detector: Recipe,
    /// Where in the picture it looks; everywhere where absent.
    pub zones: Option<Zones>,
    /// Clips a forward pass.
    pub batch_size: usize,
    /// Where signals that end the process are caught; nowhere, and they end it as the system does.
    pub interrupt: Option<&'static Interrupt>,
}

/// Normal video of a camera.
#[derive(Clone, Copy, Debug)]
pub struct NormalVideo<'a> {
    /// What the model was not trained on.
    pub held_out: &'a [DecodedVideo],
    /// What it learnt from: more of what is normal, of which the distributions of the served score
    /// are made as well. See [`Recipe::calibrate`].
    pub learnt: &'a [DecodedVideo],
}

/// The calibration over all normal video, and one for each scene where scenes are known.
///
/// # Errors
/// When there is no held-out video or the video cannot be scored.
pub fn calibrate(
    scorer: &mut dyn Scorer,
    normal: NormalVideo<'_>,
    shape: ClipShape,
    options: &CalibrationOptions,
) -> Result<Vec<Calibration>, CalibrateError> {
    ScoredNormal::new(scorer, normal, shape, options)?.calibrations(options)
}

impl CalibrationOptions {
    fn calibration(
        &self,
        scene: Option<&str>,
        videos: &Scored<'_>,
    ) -> Result<Calibration, CalibrateError> {
        let scores = videos.held_out.iter().flat_map(|video| &video.scored.scores);
        let scores: Vec<FrameScore> = scores.copied().collect();
        let [held_out, learnt] = [&videos.held_out, &videos.learnt].map(|of| {
            of.iter().map(|video| video.scored.statistics.as_slice()).collect::<Vec<_>>()
        });
        let calibration = Calibration::from_held_out(scene, &scores, self.gamma)?
            .with_detector(self.detector.calibrate(&held_out, &learnt)?);
        let calibration = zones::with_zones(calibration, self.zones.as_ref());
        if !videos.one_camera {
            return Ok(calibration);
        }
        // How a camera looks is in learnt video as it is in held-out: no weight was fitted to it.
        let all = videos.held_out.iter().chain(&videos.learnt).map(|video| &video.video);
        let camera = camera::bounds(&all.collect::<Vec<_>>())?;
        Ok(Calibration { camera, ..calibration })
    }
}
