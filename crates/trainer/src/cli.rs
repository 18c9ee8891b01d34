//! The command line of `protoguard-trainer`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use protoguard_data::Layout;
use protoguard_model::Precision;

use crate::config::Override;
use crate::source::SourceArgs;

/// Learns what normal looks like from folders of video, and measures how well it did.
#[derive(Debug, Parser)]
#[command(name = "protoguard-trainer", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the trainer can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a model on normal video and write a checkpoint.
    Train(TrainArgs),
    /// Measure a checkpoint on labelled test video, beside the copy-frame baseline.
    Evaluate(EvaluateArgs),
    /// Report what a data set holds: videos, sizes, labels, and everything odd.
    Inspect(InspectArgs),
    /// Draw synthetic scenes with labelled anomalies, as an ordinary folder of frames.
    Synth(SynthArgs),
}

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
    /// TOML file with the tables model, loss and training
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Set any key, such as --set loss.within=mean (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print the effective configuration and stop
    #[arg(long)]
    pub print_config: bool,
    /// Folder of libtorch_cuda.so, for cuda devices
    #[arg(long, env = "PROTOGUARD_LIBTORCH")]
    pub libtorch: Option<PathBuf>,
    /// Short names of the keys that are set most.
    #[command(flatten)]
    pub short: ShortFlags,
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
    /// Seeds weights and order [default: 0]
    #[arg(long)]
    pub seed: Option<u32>,
    /// cpu or cuda:N [default: cpu]
    #[arg(long)]
    pub device: Option<String>,
    /// CPU threads, 0 for all cores [default: 0]
    #[arg(long)]
    pub threads: Option<u32>,
}

impl ShortFlags {
    /// The keys that were set.
    pub fn overrides(&self) -> Vec<Override> {
        let integer =
            |key, value: Option<u32>| value.map(|value| Override { key, value: value.into() });
        let rate = self.learning_rate.map(config::Value::from);
        let device = self.device.clone().map(config::Value::from);
        [
            integer("model.shape.side", self.side),
            integer("model.shape.past_frames", self.past_frames),
            integer("model.base_width", self.base_width),
            integer("model.memory.items", self.memory_items),
            integer("training.epochs", self.epochs),
            integer("training.batch_size", self.batch_size),
            rate.map(|value| Override { key: "training.learning_rate", value }),
            integer("training.seed", self.seed),
            device.map(|value| Override { key: "training.device", value }),
            integer("training.threads", self.threads),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Flags of `evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// Checkpoint to measure
    #[arg(long)]
    pub checkpoint: PathBuf,
    /// Folder of labelled test video, of any layout: see --layout
    #[arg(long)]
    pub data: PathBuf,
    /// How the data is read.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Labels as .npy (one a test frame in order of videos), .csv (video,first,last) or UCSD's .m
    /// [default: those that come with the data]
    #[arg(long)]
    pub labels: Option<PathBuf>,
    /// Write one HTML page with numbers, curves and pictures
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Write all numbers as JSON
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Write the scores of every frame as JSON lines
    #[arg(long)]
    pub frames_out: Option<PathBuf>,
    /// Clips a forward pass
    #[arg(long, default_value_t = 8)]
    pub batch_size: usize,
    /// cpu or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// CPU threads, 0 for all cores
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// What convolutions compute in: f32, bf16 or auto, which is what a server would take
    #[arg(long, default_value_t = Precision::F32)]
    pub precision: Precision,
    /// Folder of libtorch_cuda.so, for cuda devices
    #[arg(long, env = "PROTOGUARD_LIBTORCH")]
    pub libtorch: Option<PathBuf>,
    /// Replace output files that exist
    #[arg(long)]
    pub overwrite: bool,
}

/// Flags of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Folder of a data set, of any layout
    pub data: PathBuf,
    /// How the data lies on disk: ucsd, avenue, shanghaitech, converted or own [default: found by
    /// looking]
    #[arg(long)]
    pub layout: Option<Layout>,
    /// Decode every frame as training would, instead of reading the heads of files
    #[arg(long)]
    pub decode: bool,
    /// How to print the report
    #[arg(long, value_enum, default_value_t)]
    pub format: ReportFormat,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Text for a terminal.
    #[default]
    Table,
    /// One JSON object.
    Json,
}

/// Flags of `synth`.
#[derive(Debug, Args)]
pub struct SynthArgs {
    /// Folder to create
    #[arg(long)]
    pub out: PathBuf,
    /// Seeds every drawing
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Normal videos to learn from
    #[arg(long, default_value_t = 8)]
    pub training_videos: usize,
    /// Videos with labelled anomalies
    #[arg(long, default_value_t = 12)]
    pub testing_videos: usize,
    /// Frames a video
    #[arg(long, default_value_t = 200)]
    pub frames: usize,
    /// Height of frames in pixels
    #[arg(long, default_value_t = 120)]
    pub height: usize,
    /// Width of frames in pixels
    #[arg(long, default_value_t = 160)]
    pub width: usize,
}
