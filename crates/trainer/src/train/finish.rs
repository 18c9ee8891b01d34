//! From a finished training to its checkpoint.

use std::collections::BTreeMap;

use anyhow::Context;
use protoguard_checkpoint::{
    Array, Checkpoint, CheckpointContent, Golden, HeldOut, Precision, Preprocessing, TrainingRecord,
};
use protoguard_core::Scorer;
use protoguard_datasets::DecodedVideo;
use protoguard_frames::RESIZER;
use protoguard_model::{DeviceSpec, InferenceGraph, TchScorer, record_golden, to_array};

use super::adam::{Adam, NamedState};
use super::data::TrainingData;
use super::step::{EpochRecord, Learner};
use crate::calibrate::{CalibrationOptions, NormalVideo, activation_ranges, calibrate};
use crate::config::TrainerConfig;
use crate::interrupt::Interrupt;

/// Clips a forward pass of the calibration; scores do not depend on it.
const CALIBRATION_BATCH: usize = 8;

/// What is known of a run at its end.
#[derive(Debug)]
pub struct Finished<'a> {
    /// The effective configuration.
    pub config: &'a TrainerConfig,
    /// What it learnt from.
    pub data: &'a TrainingData,
    /// One record an epoch.
    pub history: &'a [EpochRecord],
    /// Wall-clock time from the start of the command.
    pub seconds: f64,
    /// Where it ran.
    pub device: DeviceSpec,
    /// Where signals are caught.
    pub interrupt: Option<&'static Interrupt>,
}

/// Calibrates a trained network on the normal video and packs it with everything that serving
/// it and training it further needs.
///
/// # Errors
/// When a held-out clip cannot be scored, or a weight is not finite.
pub fn checkpoint(learner: Learner, finished: &Finished<'_>) -> anyhow::Result<Checkpoint> {
    let (network, adam) = learner.into_parts();
    let tensors = network.to_arrays()?;
    let mut scorer = TchScorer::new(InferenceGraph::new(&network, Precision::F32)?);
    let golden = golden(scorer.graph(), &finished.data.held_out)?;
    let calibrations = calibrate(
        &mut scorer as &mut dyn Scorer,
        NormalVideo { held_out: &finished.data.held_out, learnt: &finished.data.training },
        finished.config.model.shape,
        &CalibrationOptions {
            gamma: finished.config.training.gamma,
            detector: finished.config.detector.clone(),
            zones: None,
            batch_size: CALIBRATION_BATCH,
            interrupt: finished.interrupt,
        },
    )?;
    Ok(Checkpoint::new(CheckpointContent {
        model: finished.config.network(),
        preprocessing: Preprocessing::new(RESIZER),
        training: finished.record()?,
        calibrations,
        activation_ranges: activation_ranges(&network, &finished.data.held_out)?,
        golden: Some(golden),
        tensors,
        optimizer: optimizer_state(&adam)?,
    })?)
}

fn golden(graph: &InferenceGraph, held_out: &[DecodedVideo]) -> anyhow::Result<Golden> {
    let shape = graph.config().shape;
    let clip = held_out.iter().find_map(|video| video.clip_at(shape, 0).transpose()).transpose()?;
    Ok(record_golden(graph, clip.context("no held-out clip to record as golden")?)?)
}

/// The moments by parameter, and the number of steps under `steps`.
fn optimizer_state(adam: &Adam) -> anyhow::Result<BTreeMap<String, Array>> {
    let mut state = BTreeMap::new();
    for NamedState { name, tensor } in adam.state() {
        state.insert(name, to_array(&tensor)?);
    }
    let steps = i64::try_from(adam.steps()).context("number of steps")?;
    state.insert("steps".to_owned(), Array::from_i64(vec![1], &[steps]).context("one counter")?);
    Ok(state)
}

impl Finished<'_> {
    fn record(&self) -> anyhow::Result<TrainingRecord> {
        let last = self.history.last().context("a run has at least one epoch")?;
        let losses = last.training.losses;
        let optional = [
            ("training_gradient_loss", losses.gradient),
            ("training_difference_loss", losses.difference),
            ("training_difference_zero_loss", losses.difference_zero),
            ("training_discriminative_loss", losses.discriminative),
            ("training_commitment_loss", losses.commitment),
            ("training_separation_loss", losses.separation),
            ("motion_loss_vs_zero", last.motion_loss_vs_zero),
        ];
        let mut metrics = BTreeMap::from([
            ("training_loss".to_owned(), losses.total),
            ("training_prediction_loss".to_owned(), losses.prediction),
            ("held_out_psnr_db".to_owned(), last.held_out_psnr_db),
            ("training_seconds".to_owned(), self.seconds),
        ]);
        metrics
            .extend(optional.into_iter().filter_map(|(name, loss)| Some((name.to_owned(), loss?))));
        let versions =
            [("protoguard-trainer", env!("CARGO_PKG_VERSION")), ("libtorch", LIBTORCH_VERSION)];
        let versions = versions.map(|(name, version)| (name.to_owned(), version.to_owned()));
        Ok(TrainingRecord {
            config: serde_json::to_value(self.config)?,
            seed: self.config.training.seed,
            epochs: last.epoch,
            data: format!("{} on {}", self.data.describe(self.config.model.shape), self.device),
            frame_interval: self.data.frame_interval,
            held_out: self.data.held_out.iter().map(held_out).collect(),
            versions: BTreeMap::from(versions),
            metrics,
            memory_health: last.memory.clone(),
        })
    }
}

fn held_out(video: &DecodedVideo) -> HeldOut {
    let range = video.range();
    HeldOut {
        video: video.name.clone(),
        scene: video.scene.clone(),
        first_frame: range.start,
        frames: range.len(),
    }
}

/// The version that tch binds; another would not have linked.
const LIBTORCH_VERSION: &str = "2.11.0";
