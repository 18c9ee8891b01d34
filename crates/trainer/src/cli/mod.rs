//! The command line of `protoguard-trainer`.

mod scoring;
mod training;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use protoguard_checkpoint::Precision;
use protoguard_datasets::Layout;
use protoguard_model::DeviceSpec;

use crate::source::SourceArgs;

pub use scoring::{CalibrateArgs, EvaluateArgs, ScorerArgs, ValidateArgs};
pub use training::{ConfigArgs, LayerArgs, ShortFlags, TrainArgs};

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
    /// Print the effective configuration, with where every value comes from
    Config(ConfigArgs),
    /// Show what a checkpoint says of itself
    Show(ShowArgs),
    /// Write a checkpoint for serving: without optimiser state, smaller where asked
    Export(ExportArgs),
    /// Calibrate a checkpoint on normal video of another camera, without training
    Calibrate(CalibrateArgs),
    /// Measure a training step on drawn scenes
    #[command(hide = true)]
    Step(StepArgs),
    /// Train and measure a grid of configurations, and print a table
    Ablate(AblateArgs),
    /// Measure a checkpoint on labelled test video, beside baselines that need no model.
    Evaluate(EvaluateArgs),
    /// Measure a checkpoint without labels, on anomalies put into normal video of its camera
    Validate(ValidateArgs),
    /// Report what a data set holds: videos, sizes, labels, and everything odd.
    Inspect(InspectArgs),
    /// Draw synthetic scenes with labelled anomalies, as an ordinary folder of frames.
    Synth(SynthArgs),
}

impl Command {
    /// Whether a network is computed.
    pub fn computes(&self) -> bool {
        !matches!(self, Self::Config(_) | Self::Show(_) | Self::Inspect(_) | Self::Synth(_))
    }
}

/// Flags of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Checkpoint to look at
    pub checkpoint: PathBuf,
    /// As JSON, with everything but the tensors
    #[arg(long)]
    pub json: bool,
}

/// Flags of `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Checkpoint to export
    #[arg(long)]
    pub checkpoint: PathBuf,
    /// File to write
    #[arg(long)]
    pub out: PathBuf,
    /// Store the weights of convolutions in 16 bits; they are computed with as before
    #[arg(long)]
    pub f16: bool,
    /// Leave the motion branch out: scores stay, RGB-difference maps go
    #[arg(long)]
    pub without_motion: bool,
    /// Replace the file if it exists
    #[arg(long)]
    pub overwrite: bool,
}

/// Flags of `step`.
#[derive(Debug, Args)]
pub struct StepArgs {
    /// Height and width of frames
    #[arg(long, default_value_t = 256)]
    pub side: usize,
    /// Frames that predict the next
    #[arg(long, default_value_t = 4)]
    pub past_frames: usize,
    /// Channels of the first level
    #[arg(long, default_value_t = 64)]
    pub base_width: usize,
    /// Clips a step
    #[arg(long, default_value_t = 4)]
    pub batch_size: usize,
    /// auto, f32 or bf16
    #[arg(long, default_value = "f32")]
    pub precision: Precision,
    /// CPU threads, 0 for all cores
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// First steps, on one batch, whose losses are printed
    #[arg(long, default_value_t = 2)]
    pub check: usize,
    /// Steps after them that are timed
    #[arg(long, default_value_t = 3)]
    pub steps: usize,
    /// Write weights and clips of the checked steps for another implementation
    #[arg(long, value_name = "FILE")]
    pub case: Option<PathBuf>,
    /// Measure evaluate's loop beside the forward pass alone, too
    #[arg(long)]
    pub evaluate: bool,
    /// cpu or cuda:N
    #[arg(long, default_value_t)]
    pub device: DeviceSpec,
    /// Folder of libtorch_cuda.so, for cuda devices
    #[arg(long, env = "PROTOGUARD_LIBTORCH")]
    pub libtorch: Option<PathBuf>,
}

/// Flags of `ablate`.
#[derive(Debug, Args)]
pub struct AblateArgs {
    /// TOML file of the grid
    #[arg(long)]
    pub grid: PathBuf,
    /// Data set with normal training video and labelled test video, of any layout: see --layout
    #[arg(long, required_unless_present = "list")]
    pub data: Option<PathBuf>,
    /// How the data is read.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Labels as .npy [default: those in the data set folder]
    #[arg(long)]
    pub labels: Option<PathBuf>,
    /// Folder for the runs and the table
    #[arg(long, required_unless_present = "list")]
    pub out: Option<PathBuf>,
    /// Run this cell alone, counted from 0
    #[arg(long, env = "JOB_COMPLETION_INDEX")]
    pub index: Option<usize>,
    /// List the cells and stop
    #[arg(long)]
    pub list: bool,
    /// Folder of libtorch_cuda.so, for cuda devices
    #[arg(long, env = "PROTOGUARD_LIBTORCH")]
    pub libtorch: Option<PathBuf>,
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
