use std::path::PathBuf;

use clap::Args;

use crate::config::{Layers, Override, Preset};
use crate::source::SourceArgs;

/// Flags of `train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Folder of normal video, of any layout: see --layout
    #[arg(long)]
    pub data: PathBuf,
    /// How the data is read.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Checkpoint to write, such as model.safetensors
    #[arg(long)]
    pub out: PathBuf,
    /// Replace the checkpoint if it exists
    #[arg(long)]
    pub overwrite: bool,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub layers: LayerArgs,
    /// Go on with an unfinished run, from the state beside --out
    #[arg(long)]
    pub resume: bool,
    /// JSON lines of the run, - for standard output [default: --out with .log.jsonl after it]
    #[arg(long, value_name = "FILE")]
    pub log_out: Option<PathBuf>,
    /// Folder for TensorBoard's event files
    #[arg(long, value_name = "DIR")]
    pub tensorboard: Option<PathBuf>,
    /// Print the effective configuration and stop
    #[arg(long)]
    pub print_config: bool,
    /// Folder of libtorch_cuda.so, for cuda devices
    #[arg(long, env = "PROTOGUARD_LIBTORCH")]
    pub libtorch: Option<PathBuf>,
}

/// Flags of `config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub layers: LayerArgs,
}

/// Flags that say where the configuration comes from.
#[derive(Debug, Default, Args)]
pub struct LayerArgs {
    /// A configuration that comes with the program; --config and all else weigh more
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// TOML file with the tables model, loss, training and detector
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Set any key, such as --set loss.within=mean (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Short names of the keys that are set most.
    #[command(flatten)]
    pub short: ShortFlags,
}

impl LayerArgs {
    /// Everything that lies over the defaults, but for the environment.
    pub fn layers(&self) -> Layers<'_> {
        Layers {
            preset: self.preset,
            file: self.config.as_deref(),
            set: &self.set,
            flags: self.short.overrides(),
        }
    }
}

/// Flags that stand for keys of the configuration.
#[derive(Debug, Default, Args)]
pub struct ShortFlags {
    /// Height and width of frames at the network, a multiple of 8 [default: 256]
    #[arg(long)]
    pub side: Option<u32>,
    /// Frames that predict the next [default: 4]
    #[arg(long)]
    pub past_frames: Option<u32>,
    /// Channels of the first level [default: 64]
    #[arg(long)]
    pub base_width: Option<u32>,
    /// Items of the memory [default: 100]
    #[arg(long)]
    pub memory_items: Option<u32>,
    /// Passes over the data [default: 60]
    #[arg(long)]
    pub epochs: Option<u32>,
    /// Clips a step [default: 4]
    #[arg(long)]
    pub batch_size: Option<u32>,
    /// Adam's first learning rate [default: 0.0002]
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// Frames a second to learn from: faster video is thinned to them [default: all frames]
    #[arg(long, value_name = "FPS")]
    pub train_fps: Option<f64>,
    /// Seeds weights and order [default: 0]
    #[arg(long)]
    pub seed: Option<u32>,
    /// cpu or cuda:N [default: cpu]
    #[arg(long)]
    pub device: Option<String>,
    /// CPU threads; 0 for as many as steps are fastest with [default: 0]
    #[arg(long)]
    pub threads: Option<u32>,
}

impl ShortFlags {
    /// The keys that were set.
    pub fn overrides(&self) -> Vec<Override> {
        let integer =
            |key, value: Option<u32>| value.map(|value| Override { key, value: value.into() });
        let number =
            |key, value: Option<f64>| value.map(|value| Override { key, value: value.into() });
        let device = self.device.clone().map(config::Value::from);
        [
            integer("model.shape.side", self.side),
            integer("model.shape.past_frames", self.past_frames),
            integer("model.base_width", self.base_width),
            integer("model.memory.items", self.memory_items),
            integer("training.epochs", self.epochs),
            integer("training.batch_size", self.batch_size),
            number("training.learning_rate", self.learning_rate),
            number("training.train_fps", self.train_fps),
            integer("training.seed", self.seed),
            device.map(|value| Override { key: "training.device", value }),
            integer("training.threads", self.threads),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
