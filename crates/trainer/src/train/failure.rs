use std::path::PathBuf;

use protoguard_datasets::DatasetError;
use protoguard_model::{ModelError, StepLosses};

use super::step::StepError;
use crate::interrupt::StopSignal;

/// What ended a run early.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A step failed.
    #[error("epoch {epoch}, step {step}: {source}")]
    Step {
        /// Counted from 1.
        epoch: u64,
        /// Counted from 1 in the epoch.
        step: u64,
        /// What happened.
        source: StepError,
    },
    /// A loss is NaN or infinite; weights are worth nothing from here on.
    #[error(
        "epoch {epoch}, step {step}: loss is not finite (total {total}, prediction {prediction}) on {clips}; {last}. A lower training.learning_rate may help",
        total = losses.total, prediction = losses.prediction, clips = clips.join(", "), last = last_state(state.as_ref())
    )]
    NotFinite {
        /// Counted from 1.
        epoch: u64,
        /// Counted from 1 in the epoch.
        step: u64,
        /// The losses of the batch.
        losses: Box<StepLosses>,
        /// The video and the frames of every clip of the batch, counted from 0.
        clips: Vec<String>,
        /// The last good state.
        state: Option<PathBuf>,
    },
    /// The held-out clips could not be predicted, or the device failed.
    #[error("epoch {epoch}: {source}")]
    HeldOut {
        /// Counted from 1.
        epoch: u64,
        /// What happened.
        source: ModelError,
    },
    /// Decoded frames can no longer be read.
    #[error(transparent)]
    Data(#[from] DatasetError),
    /// The loader gave up before the end of the epoch.
    #[error("epoch {epoch}: the loader stopped before batch {batch}")]
    Loader {
        /// Counted from 1.
        epoch: u64,
        /// Counted from 1.
        batch: usize,
    },
    /// The process was told to stop, and the state is saved.
    #[error("stopped by {signal} after step {step}; {}. --resume goes on from it", last_state(state.as_ref()))]
    Interrupted {
        /// The signal.
        signal: StopSignal,
        /// Steps of the run.
        step: u64,
        /// The state.
        state: Option<PathBuf>,
    },
    /// The process was told to stop, and the state could not be saved.
    #[error("stopped by {signal}, and the state cannot be saved; {}", last_state(state.as_ref()))]
    NotSaved {
        /// The signal.
        signal: StopSignal,
        /// The last good state.
        state: Option<PathBuf>,
    },
}

fn last_state(state: Option<&PathBuf>) -> String {
    state.map_or_else(
        || "no state was saved before".to_owned(),
        |path| format!("the last good state is {path:?}"),
    )
}
