//! What a stopped run needs to go on exactly.

use std::path::{Path, PathBuf};

use protoguard_checkpoint::{ArrayFile, CheckpointError};
use protoguard_datasets::{DatasetError, DecodedVideo};
use protoguard_model::{HealthSums, ModelError, StepLosses};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::data::TrainingData;
use super::step::{EpochRecord, Learner, LossMeter};
use crate::config::{TrainerConfig, leaves};

/// Tells a state from a checkpoint.
const KEY: &str = "protoguard-training";

/// Keys that may change between two parts of a run: they do not change what it computes, but for
/// the order of a sum.
const FREE_KEYS: [&str; 5] = [
    "training.device",
    "training.threads",
    "training.save_steps",
    "training.save_minutes",
    "training.log_steps",
];

/// How far a run has come; with the learner's tensors, all that it needs to go on exactly.
///
/// No random number is drawn after the weights, but for the order of the clips and their companions, a
/// function of the seed and the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Epochs finished.
    pub epoch: u64,
    /// Steps taken in the one after them.
    pub step: u64,
    /// Steps taken by the optimiser.
    pub total_steps: u64,
    /// Losses of this epoch so far.
    pub losses: LossMeter,
    /// Losses since the log's last record.
    pub window: LossMeter,
    /// The memory in this epoch so far; absent before its first step.
    pub health: Option<HealthSums>,
    /// Time spent in this epoch.
    pub epoch_seconds: f64,
    /// Time spent since the run began.
    pub seconds: f64,
    /// One record a finished epoch.
    pub history: Vec<EpochRecord>,
    /// Length of the log at this position, where there is one.
    pub log_bytes: Option<u64>,
}

impl Position {
    /// Nothing done.
    pub fn start() -> Self {
        Self {
            epoch: 0,
            step: 0,
            total_steps: 0,
            losses: LossMeter::default(),
            window: LossMeter::default(),
            health: None,
            epoch_seconds: 0.0,
            seconds: 0.0,
            history: Vec::new(),
            log_bytes: None,
        }
    }

    /// A step was taken.
    pub(super) fn advance(&mut self, losses: &StepLosses) {
        self.losses.add(losses);
        self.window.add(losses);
        self.step += 1;
        self.total_steps += 1;
    }

    /// Time went by.
    pub(super) fn spend(&mut self, seconds: f64) {
        self.epoch_seconds += seconds;
        self.seconds += seconds;
    }

    /// An epoch is done.
    pub(super) fn next_epoch(&mut self) {
        self.epoch += 1;
        self.step = 0;
        self.losses = LossMeter::default();
        self.health = None;
        self.epoch_seconds = 0.0;
    }
}

/// What a run learns from, well enough to tell when it is not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecord {
    videos: Vec<VideoRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VideoRecord {
    name: String,
    frames: usize,
    held_out: bool,
    /// Of the first, middle and last frame's pixels.
    sha256: String,
}

impl DataRecord {
    /// The record of decoded videos.
    ///
    /// # Errors
    /// When their frames can no longer be read.
    pub fn of(data: &TrainingData) -> Result<Self, DatasetError> {
        let training = data.training.iter().map(|video| VideoRecord::of(video, false));
        let held_out = data.held_out.iter().map(|video| VideoRecord::of(video, true));
        Ok(Self { videos: training.chain(held_out).collect::<Result<_, _>>()? })
    }

    /// The first difference to what a run was started with, for a person to read.
    fn difference(&self, started: &Self) -> Option<String> {
        for (now, then) in self.videos.iter().zip(&started.videos) {
            if now.name != then.name || now.held_out != then.held_out {
                return Some(format!("video {:?} is where {:?} was", now.name, then.name));
            }
            if now.frames != then.frames {
                let (name, found, expected) = (&now.name, now.frames, then.frames);
                return Some(format!("video {name:?} has {found} frames where it had {expected}"));
            }
            if now.sha256 != then.sha256 {
                return Some(format!("video {:?} has other pixels", now.name));
            }
        }
        let (found, expected) = (self.videos.len(), started.videos.len());
        (found != expected).then(|| format!("{found} parts of videos where there were {expected}"))
    }
}

impl VideoRecord {
    fn of(video: &DecodedVideo, held_out: bool) -> Result<Self, DatasetError> {
        let frames = video.len();
        let mut hasher = Sha256::new();
        for index in [0, frames / 2, frames.saturating_sub(1)] {
            if let Some(frame) = video.frame(index)? {
                hasher.update(frame.pixels());
            }
        }
        let sha256 = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { name: video.name.clone(), frames, held_out, sha256 })
    }
}

/// A run between two steps, as a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingState {
    /// The effective configuration.
    pub config: TrainerConfig,
    /// What it learns from.
    pub data: DataRecord,
    /// How far it has come.
    pub position: Position,
}

/// A state that cannot be kept or gone on from.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file is damaged, of another kind, or cannot be written.
    #[error("state of the run: {0}")]
    File(#[from] CheckpointError),
    /// Its description is not that of this version.
    #[error("state of the run {path:?}: {reason}; --overwrite starts anew")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The tensors do not fit, or the device failed.
    #[error("state of the run: {0}")]
    Model(#[from] ModelError),
    /// A key of the configuration has another value than the run was started with.
    #[error(
        "{key} is {found}; the run to resume was started with {expected}. Give the same value, or --overwrite to start anew"
    )]
    Config {
        /// The key's dotted path.
        key: String,
        /// Its value now.
        found: String,
        /// Its value then.
        expected: String,
    },
    /// The data folder holds something else.
    #[error("--data differs from what the run to resume was started with: {difference}")]
    Data {
        /// The first difference.
        difference: String,
    },
}

impl TrainingState {
    /// Where the state of a run is kept: beside its checkpoint.
    pub fn path_for(checkpoint: &Path) -> PathBuf {
        let mut name = checkpoint.file_name().unwrap_or_default().to_owned();
        name.push(".state");
        checkpoint.with_file_name(name)
    }

    /// Writes the state and the learner's tensors, whole or not at all.
    ///
    /// # Errors
    /// When a tensor is not finite or the file system refuses; the last state is kept then.
    pub fn write(&self, learner: &Learner, path: &Path) -> Result<(), StateError> {
        let content = serde_json::to_value(self).map_err(|error| StateError::Content {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        ArrayFile { content, arrays: learner.to_arrays()? }.write(path, KEY)?;
        Ok(())
    }

    /// Reads a state, checks that the run is the same, and puts its tensors into the learner.
    ///
    /// # Errors
    /// When the file is damaged, or the configuration or the data differ: names where.
    pub fn resume(
        path: &Path,
        now: (&TrainerConfig, &DataRecord),
        learner: &mut Learner,
    ) -> Result<Position, StateError> {
        let ArrayFile { content, arrays } = ArrayFile::read(path, KEY)?;
        let state: Self = serde_json::from_value(content).map_err(|error| StateError::Content {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        check_config(now.0, &state.config)?;
        if let Some(difference) = now.1.difference(&state.data) {
            return Err(StateError::Data { difference });
        }
        learner.load_arrays(&arrays, state.position.total_steps)?;
        Ok(state.position)
    }
}

/// Names the first key that differs, those left out that may.
///
/// # Errors
/// When one differs.
pub(crate) fn check_config(now: &TrainerConfig, then: &TrainerConfig) -> Result<(), StateError> {
    let table = |config| leaves(&toml::Table::try_from(config).unwrap_or_default());
    let (now, then) = (table(now), table(then));
    let absent = toml::Value::String("absent".to_owned());
    for key in now.keys().chain(then.keys()).filter(|key| !FREE_KEYS.contains(&key.as_str())) {
        let value = |of: &std::collections::BTreeMap<String, toml::Value>| {
            of.get(key).unwrap_or(&absent).to_string()
        };
        if value(&now) != value(&then) {
            return Err(StateError::Config {
                key: key.clone(),
                found: value(&now),
                expected: value(&then),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use protoguard_core::Frame;

    use super::*;

    #[test]
    fn a_changed_key_is_named_and_a_free_one_is_not() {
        let then = TrainerConfig::default();
        let mut now = then.clone();
        now.training.threads = 7;
        now.training.save_steps = 5;
        check_config(&now, &then).unwrap();
        now.loss.prediction_weight = 2.0;
        let error = check_config(&now, &then).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "loss.prediction_weight is 2.0; the run to resume was started with 1.0"
            ),
            "{error}"
        );
    }

    #[test]
    fn changed_data_is_named() {
        let video = |frames: usize, value: u8| {
            let frame = |_| Frame::new(16, 16, vec![value; 768]).unwrap();
            DecodedVideo::in_memory("03", None, (0..frames).map(frame).collect())
        };
        let record = |video| {
            let training = vec![video];
            let (name, held_out) = (String::new(), Vec::new());
            let data = TrainingData { name, training, held_out, frame_interval: None };
            DataRecord::of(&data).unwrap()
        };
        let started = record(video(9, 1));
        assert_eq!(record(video(9, 1)).difference(&started), None);
        let found = record(video(8, 1)).difference(&started).unwrap();
        assert_eq!(found, "video \"03\" has 8 frames where it had 9");
        assert!(record(video(9, 2)).difference(&started).unwrap().contains("other pixels"));
    }
}
