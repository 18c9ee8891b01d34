//! What a training run is made of, in layers: default, preset, file, environment, flags.
//!
//! The structs are the manual: every key of the TOML file is a field here or in
//! [`protoguard_checkpoint::ModelConfig`] and [`protoguard_checkpoint::LossConfig`].

mod origin;
mod preset;

use std::path::Path;

use config::{Config, Environment, File, FileFormat};
use protoguard_checkpoint::{LossConfig, ModelConfig, Precision};
use protoguard_core::normalise::GAMMA;
use protoguard_core::{DetectorError, FrameInterval, Recipe};
use protoguard_frames::pace::interval_at;
use serde::{Deserialize, Serialize};

pub(crate) use origin::leaves;
pub use origin::{Effective, Origin, run};
pub use preset::Preset;

/// Prefix of environment variables, such as `PROTOGUARD_TRAINER__TRAINING__EPOCHS=10`.
pub const ENVIRONMENT_PREFIX: &str = "PROTOGUARD_TRAINER";

/// The whole configuration of a run, saved in the checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainerConfig {
    /// The network. `memory.items = 0` builds one without memory; see [`TrainerConfig::network`].
    pub model: ModelConfig,
    /// The losses and their weights.
    pub loss: LossConfig,
    /// The recipe.
    pub training: TrainingConfig,
    /// What the served score is made of.
    pub detector: Recipe,
}

/// The recipe of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// Passes over the training clips. 60 suits Ped2 and Avenue, 10 ShanghaiTech.
    pub epochs: u64,
    /// Clips a forward pass; the last partial batch of an epoch is dropped.
    pub batch_size: usize,
    /// Forward passes whose gradients are averaged into one step of the optimiser. BatchNorm's
    /// statistics and the memory follow every pass, which they see one at a time.
    pub accumulate: usize,
    /// Adam's learning rate in the first epoch; it falls to 0 along a cosine.
    pub learning_rate: f64,
    /// Share of the epochs, at the end, in which BatchNorm normalises with its stored statistics, as
    /// scoring does, in [0, 1). Without such epochs what is rare in a batch may grow without bounds
    /// in scoring.
    pub frozen_norm: f64,
    /// Share of the epochs, at the start, in which the motion branch's loss has no weight, in
    /// [0, 1).
    pub motion_start: f64,
    /// Seeds the weights, the order of clips and the speed of their companions.
    pub seed: u64,
    /// Share of the training video that is held out for calibration, in (0, 0.5]: whole videos, or
    /// the end of each where there are few.
    pub held_out: f64,
    /// Frames a second to learn from: video is thinned to them by whole frames, or by its time stamps
    /// where its rate varies; 0 for all frames. The checkpoint records what comes of it.
    pub train_fps: f64,
    /// Weight of the PSNR against the feature distance in regularity, in [0, 1].
    pub gamma: f64,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// CPU threads of the forward and backward pass; 0 for as many as steps are fastest with: one a
    /// core, or fewer where other programs hold cores. What a seed gives then
    /// differs in rounding, unless `deterministic` is set.
    pub threads: usize,
    /// What convolutions compute in: `f32`, `bf16` (for which a processor needs AVX-512), or `auto`
    /// for bf16 where the processor is faster in it and on GPUs. Weights, memory, losses and statistics are f32 always.
    pub precision: Precision,
    /// Whether GPUs may multiply f32 with 10 bits of mantissa (TF32).
    pub tf32: bool,
    /// Whether operations that give other sums each time are refused. The CPU's need no refusing:
    /// with a fixed number of threads a seed decides every bit there.
    pub deterministic: bool,
    /// Steps between two saves of the state that `--resume` goes on from; 0 for none by steps.
    pub save_steps: u64,
    /// Minutes between two saves; 0 for none by time.
    pub save_minutes: f64,
    /// Steps between two records in the log.
    pub log_steps: u64,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            epochs: 60,
            batch_size: 4,
            accumulate: 1,
            learning_rate: 2e-4,
            frozen_norm: 0.25,
            motion_start: 0.0,
            seed: 0,
            held_out: 0.1,
            train_fps: 0.0,
            gamma: GAMMA,
            device: "cpu".to_owned(),
            threads: 0,
            precision: Precision::F32,
            tf32: false,
            deterministic: false,
            save_steps: 0,
            save_minutes: 10.0,
            log_steps: 10,
        }
    }
}

impl TrainingConfig {
    /// Whether BatchNorm's statistics are frozen in `epoch`, counted from 0.
    pub fn freezes_norm(&self, epoch: u64) -> bool {
        let frozen = (self.epochs as f64 * self.frozen_norm).floor() as u64;
        epoch >= self.epochs - frozen
    }

    /// The interval that video is thinned to, where one is wanted.
    pub fn interval(&self) -> Option<FrameInterval> {
        interval_at(self.train_fps)
    }

    /// Whether the motion branch's loss has its weight in `epoch`, counted from 0.
    pub fn learns_motion(&self, epoch: u64) -> bool {
        epoch >= (self.epochs as f64 * self.motion_start).floor() as u64
    }
}

/// A configuration that no run can be made from.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A layer that cannot be read, a key that does not exist, a value of the wrong type.
    #[error("configuration: {0}")]
    Layer(#[from] config::ConfigError),
    /// A flag of the form `key=value` without its `=`.
    #[error("--set {found:?}: expected key=value, such as training.epochs=10")]
    Set {
        /// What was given.
        found: String,
    },
    /// A value out of range.
    #[error("training.{field} is {found}; {accepted}")]
    Value {
        /// The field's name.
        field: &'static str,
        /// Its value.
        found: String,
        /// What would be accepted.
        accepted: &'static str,
    },
    /// A detector that cannot be calibrated.
    #[error(transparent)]
    Detector(#[from] DetectorError),
    /// A network or loss that cannot be built.
    #[error("{0}")]
    Model(#[from] protoguard_checkpoint::ConfigError),
}

/// Where the layers above the defaults come from.
#[derive(Clone, Debug, Default)]
pub struct Layers<'a> {
    /// What comes with the program.
    pub preset: Option<Preset>,
    /// A TOML file.
    pub file: Option<&'a Path>,
    /// `key=value` pairs, each value in TOML or a bare word.
    pub set: &'a [String],
    /// Overrides by named flags.
    pub flags: Vec<Override>,
}

impl Layers<'_> {
    fn build(&self) -> Result<Config, ConfigError> {
        // The defaults are a layer, so that a key of a table may be set without its neighbours.
        let defaults = Config::try_from(&TrainerConfig::default())?;
        let mut builder = Config::builder().add_source(defaults);
        if let Some(preset) = self.preset {
            builder = builder.add_source(File::from_str(preset.toml(), FileFormat::Toml));
        }
        if let Some(path) = self.file {
            builder = builder.add_source(File::from(path).format(FileFormat::Toml));
        }
        let environment = Environment::with_prefix(ENVIRONMENT_PREFIX).prefix_separator("__");
        builder = builder.add_source(environment.separator("__").try_parsing(true));
        for pair in self.set {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| ConfigError::Set { found: pair.clone() })?;
            builder = builder.set_override(key.trim(), parse_value(value.trim()))?;
        }
        for flag in &self.flags {
            builder = builder.set_override(flag.key, flag.value.clone())?;
        }
        Ok(builder.build()?)
    }

    fn flag_keys(&self) -> Vec<&str> {
        let set =
            self.set.iter().filter_map(|pair| pair.split_once('=')).map(|(key, _)| key.trim());
        set.chain(self.flags.iter().map(|flag| flag.key)).collect()
    }
}

/// One key set by a flag.
#[derive(Clone, Debug)]
pub struct Override {
    /// Dotted path, such as `training.epochs`.
    pub key: &'static str,
    /// Its value.
    pub value: config::Value,
}

impl TrainerConfig {
    /// The effective configuration, validated.
    ///
    /// # Errors
    /// When a layer cannot be read, a key is unknown, or a value is out of range.
    pub fn load(layers: &Layers<'_>) -> Result<Self, ConfigError> {
        Self::from_layers(&layers.build()?)
    }

    fn from_layers(sources: &Config) -> Result<Self, ConfigError> {
        let config: Self = sources.clone().try_deserialize()?;
        config.validate()?;
        Ok(config)
    }

    /// The network to build: TOML has no null, so that an absent memory is written as one of no
    /// items.
    pub fn network(&self) -> ModelConfig {
        let memory = self.model.memory.clone().filter(|memory| memory.items > 0);
        ModelConfig { memory, ..self.model.clone() }
    }

    /// Whether sped-up clips are learnt from: there is a memory that they can be far from.
    pub(crate) fn separates(&self) -> bool {
        self.loss.separation_weight > 0.0 && self.network().memory.is_some()
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.network().validate()?;
        self.loss.validate()?;
        self.detector.validate()?;
        let training = &self.training;
        let rate = training.learning_rate;
        check(training.epochs >= 1, "epochs", &training.epochs, "at least 1 is needed")?;
        check(
            training.batch_size >= 1,
            "batch_size",
            &training.batch_size,
            "at least 1 is needed",
        )?;
        check(rate > 0.0 && rate <= 1.0, "learning_rate", &rate, "accepted: above 0, at most 1")?;
        check(
            training.accumulate >= 1,
            "accumulate",
            &training.accumulate,
            "at least 1 is needed",
        )?;
        check(training.log_steps >= 1, "log_steps", &training.log_steps, "at least 1 is needed")?;
        let minutes = training.save_minutes;
        let in_range = minutes.is_finite() && minutes >= 0.0;
        check(in_range, "save_minutes", &minutes, "accepted: 0 or more")?;
        let precision = training.precision;
        let accepted = "accepted: auto, f32 or bf16; int8 is for trained weights";
        check(precision != Precision::Int8, "precision", &precision, accepted)?;
        let frozen = training.frozen_norm;
        let accepted = "accepted: 0 or more, below 1";
        check((0.0..1.0).contains(&frozen), "frozen_norm", &frozen, accepted)?;
        let start = training.motion_start;
        check((0.0..1.0).contains(&start), "motion_start", &start, accepted)?;
        let share = training.held_out;
        check(share > 0.0 && share <= 0.5, "held_out", &share, "accepted: above 0, at most 0.5")?;
        let rate = training.train_fps;
        let accepted = "accepted: above 0, at most 1000, or 0 for all frames";
        let in_range = rate == 0.0 || (interval_at(rate).is_some() && rate <= 1000.0);
        check(in_range, "train_fps", &rate, accepted)?;
        check((0.0..=1.0).contains(&training.gamma), "gamma", &training.gamma, "accepted: 0 to 1")
    }
}

fn check(
    holds: bool,
    field: &'static str,
    found: &dyn std::fmt::Display,
    accepted: &'static str,
) -> Result<(), ConfigError> {
    if holds {
        Ok(())
    } else {
        Err(ConfigError::Value { field, found: found.to_string(), accepted })
    }
}

fn parse_value(text: &str) -> config::Value {
    if let Ok(value) = text.parse::<bool>() {
        return value.into();
    }
    if let Ok(value) = text.parse::<i64>() {
        return value.into();
    }
    text.parse::<f64>().map_or_else(|_| text.into(), Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str, set: &[&str]) -> Result<TrainerConfig, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, toml).unwrap();
        let set: Vec<String> = set.iter().map(|&pair| pair.to_owned()).collect();
        TrainerConfig::load(&Layers { file: Some(&path), set: &set, ..Layers::default() })
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let toml = "[training]\nepochs = 3\nbatch_size = 8\n[loss]\nwithin = \"mean\"";
        let config = load(toml, &["training.epochs=5", "model.base_width=16"]).unwrap();
        assert_eq!((config.training.epochs, config.training.batch_size), (5, 8));
        assert_eq!((config.model.base_width, config.training.learning_rate), (16, 2e-4));
    }

    #[test]
    fn no_items_is_no_memory_and_survives_printing() {
        let config = load("", &["model.memory.items=0", "model.motion_branch=false"]).unwrap();
        assert!(config.network().memory.is_none());
        let printed = toml::to_string(&config).unwrap();
        assert_eq!(load(&printed, &[]).unwrap(), config);
    }

    #[test]
    fn the_last_epochs_are_frozen() {
        let frozen = |epochs, frozen_norm| {
            let config = TrainingConfig { epochs, frozen_norm, ..TrainingConfig::default() };
            (0..epochs).filter(|&epoch| config.freezes_norm(epoch)).collect::<Vec<_>>()
        };
        assert_eq!(frozen(8, 0.25), [6, 7]);
        assert_eq!(frozen(5, 0.25), [4]);
        assert_eq!(frozen(3, 0.25), [0; 0]);
        assert_eq!(frozen(60, 0.0), [0; 0]);
    }

    #[test]
    fn the_first_epochs_leave_motion_out() {
        let learns = |motion_start| {
            let config = TrainingConfig { epochs: 4, motion_start, ..TrainingConfig::default() };
            (0..4).filter(|&epoch| config.learns_motion(epoch)).collect::<Vec<_>>()
        };
        assert_eq!(learns(0.0), [0, 1, 2, 3]);
        assert_eq!(learns(0.5), [2, 3]);
        assert_eq!(learns(0.2), [0, 1, 2, 3]);
    }

    #[test]
    fn a_preset_lies_between_the_defaults_and_all_else() {
        let set = ["training.epochs=3".to_owned()];
        let layers = Layers { preset: Some(Preset::Cpu), set: &set, ..Layers::default() };
        let config = TrainerConfig::load(&layers).unwrap();
        assert_eq!((config.model.base_width, config.model.shape.side()), (24, 128));
        assert_eq!((config.training.epochs, config.training.held_out), (3, 0.25));
        for preset in [Preset::Paper, Preset::Full] {
            let layers = Layers { preset: Some(preset), ..Layers::default() };
            let config = TrainerConfig::load(&layers).unwrap();
            assert_eq!((config.model.base_width, config.model.shape.side()), (64, 256));
        }
    }

    #[test]
    fn a_wrong_key_is_named() {
        let error = load("[training]\nepoch = 3", &[]).unwrap_err().to_string();
        assert!(error.contains("epoch") && error.contains("epochs"), "{error}");
    }

    #[test]
    fn a_value_out_of_range_is_named() {
        let error = load("", &["training.held_out=0.9"]).unwrap_err().to_string();
        assert_eq!(error, "training.held_out is 0.9; accepted: above 0, at most 0.5");
        let error = load("", &["training.precision=int8"]).unwrap_err().to_string();
        let expected = "training.precision is int8; accepted: auto, f32 or bf16";
        assert!(error.starts_with(expected), "{error}");
        let error = load("", &["epochs"]).unwrap_err().to_string();
        assert!(error.contains("expected key=value"), "{error}");
    }
}
