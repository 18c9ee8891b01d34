//! The command line of `protoguard-trainer`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use protoguard_data::Layout;
use protoguard_model::{DeviceSpec, Precision};

use crate::config::{Override, Preset};
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
    /// A configuration that comes with the program; --config and all else weigh more
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// TOML file with the tables model, loss, training and detector
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Set any key, such as --set loss.within=mean (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
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
    /// Short names of the keys that are set most.
    #[command(flatten)]
    pub short: ShortFlags,
}

/// Flags of `config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
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

/// Flags of `calibrate`.
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    /// Checkpoint to start from
    #[arg(long)]
    pub checkpoint: PathBuf,
    /// Normal video that the model was not trained on, of any layout: see --layout
    #[arg(long)]
    pub data: PathBuf,
    /// How the data is read.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Name of the camera's scene, as requests will give it; without one the calibration of all
    /// scenes is replaced
    #[arg(long)]
    pub scene: Option<String>,
    /// TOML of the trainer whose table `detector` says what the served score is made of; without one it
    /// stays as it is in the checkpoint
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// File to write
    #[arg(long)]
    pub out: PathBuf,
    /// Clips a forward pass
    #[arg(long, default_value_t = 8)]
    pub batch_size: usize,
    /// cpu or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// CPU threads, 0 for all cores
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// Folder of libtorch_cuda.so, for cuda devices
    #[arg(long, env = "PROTOGUARD_LIBTORCH")]
    pub libtorch: Option<PathBuf>,
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
    /// Folder of masks of abnormal pixels, one picture a test frame: 01/000.png [default: those
    /// that come with the data]
    #[arg(long, value_name = "FOLDER")]
    pub masks: Option<PathBuf>,
    /// Frames a second of the videos, for false alarms an hour [default: those of a known data set]
    #[arg(long, value_name = "FPS", value_parser = frame_rate)]
    pub fps: Option<f64>,
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
    /// What convolutions compute in: f32, bf16, int8 or auto, which is what a server would take
    #[arg(long, default_value_t = Precision::F32)]
    pub precision: Precision,
    /// Folder of libtorch_cuda.so, for cuda devices
    #[arg(long, env = "PROTOGUARD_LIBTORCH")]
    pub libtorch: Option<PathBuf>,
    /// Replace output files that exist
    #[arg(long)]
    pub overwrite: bool,
}

/// Flags of `validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Checkpoint to measure
    #[arg(long)]
    pub checkpoint: PathBuf,
    /// The folder of normal video that it was trained on, of any layout: see --layout
    #[arg(long)]
    pub data: PathBuf,
    /// How the data is read.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Use all normal video, not what the training held out
    #[arg(long)]
    pub all: bool,
    /// Decides what is put in where
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Write all numbers as JSON
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Clips a forward pass
    #[arg(long, default_value_t = 8)]
    pub batch_size: usize,
    /// cpu or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// CPU threads, 0 for all cores
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// Folder of libtorch_cuda.so, for cuda devices
    #[arg(long, env = "PROTOGUARD_LIBTORCH")]
    pub libtorch: Option<PathBuf>,
    /// Replace the output file if it exists
    #[arg(long)]
    pub overwrite: bool,
}

fn frame_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "a number is expected".to_owned())?;
    let accepted = rate > 0.0 && rate <= 1000.0;
    accepted.then_some(rate).ok_or_else(|| "accepted: above 0, at most 1000".to_owned())
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
