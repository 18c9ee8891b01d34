//! Flags of the commands that score clips with a checkpoint.

use std::path::{Path, PathBuf};

use clap::Args;
use protoguard_checkpoint::Precision;
use protoguard_model::{DeviceSpec, ScorerOptions};

use crate::source::{SourceArgs, name_of};

/// Flags of every command that scores clips with a checkpoint.
#[derive(Debug, Args)]
pub struct ScorerArgs {
    /// Clips a forward pass
    #[arg(long, default_value_t = 8)]
    pub batch_size: usize,
    /// cpu or cuda:N
    #[arg(long, default_value_t)]
    pub device: DeviceSpec,
    /// CPU threads, 0 for all cores
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// Folder of libtorch_cuda.so, for cuda devices
    #[arg(long, env = "PROTOGUARD_LIBTORCH")]
    pub libtorch: Option<PathBuf>,
}

impl ScorerArgs {
    /// What a scorer of a checkpoint's is built with.
    pub fn options(&self, checkpoint: &Path, precision: Precision) -> ScorerOptions {
        ScorerOptions {
            name: name_of(checkpoint),
            device: self.device,
            threads: (self.threads > 0).then_some(self.threads),
            libtorch: self.libtorch.clone(),
            precision,
        }
    }
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
    /// Normal video of the same camera that the model learnt from: a few held-out videos may be its
    /// quietest. Videos with the name of one of --data are left out
    #[arg(long)]
    pub learnt: Option<PathBuf>,
    /// How the data is read.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Name of the camera's scene, as requests will give it, such as gate, or gate/night for a
    /// camera that is another one at night; without one the calibration of all scenes is replaced
    #[arg(long)]
    pub scene: Option<String>,
    /// JSON file of zones: a list of {"name", "rule": "include" or "exclude", "polygon": [{"x", "y"}, ...]}
    /// in shares of width and height; without one those of the scene's calibration stay
    #[arg(long, value_name = "FILE")]
    pub zones: Option<PathBuf>,
    /// Look everywhere, whatever the scene's calibration did
    #[arg(long, conflicts_with = "zones")]
    pub no_zones: bool,
    /// Take the video as normal although the scene's calibration raises an alarm in it
    #[arg(long)]
    pub accept_alarms: bool,
    /// TOML of the trainer whose table `detector` says what the served score is made of; without one it
    /// stays as it is in the checkpoint
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// File to write
    #[arg(long)]
    pub out: PathBuf,
    /// How clips are scored.
    #[command(flatten)]
    pub scorer: ScorerArgs,
    /// Replace the file if it exists
    #[arg(long)]
    pub overwrite: bool,
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
    /// Write one HTML page with numbers, curves and pictures
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Write all numbers as JSON
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Write the scores of every frame as JSON lines
    #[arg(long)]
    pub frames_out: Option<PathBuf>,
    /// How clips are scored.
    #[command(flatten)]
    pub scorer: ScorerArgs,
    /// What convolutions compute in: f32, bf16, int8 or auto, which is what a server would take
    #[arg(long, default_value_t = Precision::F32)]
    pub precision: Precision,
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
    /// Write the scores of every frame as JSON lines
    #[arg(long)]
    pub frames_out: Option<PathBuf>,
    /// How clips are scored.
    #[command(flatten)]
    pub scorer: ScorerArgs,
    /// Replace output files that exist
    #[arg(long)]
    pub overwrite: bool,
}
