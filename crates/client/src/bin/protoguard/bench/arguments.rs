use std::path::PathBuf;

use clap::{Args, ValueEnum};
use protoguard_proto::v1;
use serde::Serialize;

use crate::arguments::{PayloadKind, ServerArguments};

/// How hard to ask, and what for.
#[derive(Args, Debug)]
pub(crate) struct BenchArguments {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    /// "name" or "name@version"; the server's default model where absent.
    #[arg(long, default_value = "")]
    pub(crate) model: String,
    /// Scene whose calibration applies; the calibration of all scenes where absent.
    #[arg(long, default_value = "")]
    pub(crate) scene: String,
    /// Closed loop: callers, each of whom sends the next clip when the last one is answered.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) clients: u16,
    /// Open loop: clips a second on average, at random times (a Poisson process) that wait for no
    /// answer. Latency then counts from the time that a clip was due.
    #[arg(long, conflicts_with = "clients", value_parser = positive)]
    pub(crate) rate: Option<f64>,
    /// Connections that the calls take turns on.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) connections: u16,
    /// What frames travel as; raw for drawn clips, for files as `protoguard score` sends them.
    #[arg(long, value_enum)]
    pub(crate) payload: Option<PayloadKind>,
    /// Folder of frames, folder of such folders, or a video file; drawn clips where absent.
    #[arg(long, value_name = "PATH")]
    pub(crate) frames: Option<PathBuf>,
    /// Side of drawn or resized frames in pixels; the model's where absent.
    #[arg(long)]
    pub(crate) side: Option<usize>,
    /// Clips read from --frames, sent in turns.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) distinct_clips: u16,
    /// Scores alone, or every picture as well.
    #[arg(long, value_enum, default_value_t = View::Basic)]
    pub(crate) view: View,
    /// Milliseconds of load before anything is measured.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(0..=3_600_000))]
    pub(crate) warm_up_ms: u64,
    /// Milliseconds of a window.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    pub(crate) window_ms: u64,
    /// Windows that must agree before the load ends; the result covers them.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) stable_windows: u16,
    /// Windows at most, whether they agree or not.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_windows: u16,
    /// How far rate and mean latency of a window may lie from the mean of those that must agree.
    #[arg(long, default_value_t = 0.1, value_parser = positive)]
    pub(crate) tolerance: f64,
    /// Send exactly so many clips and measure all of them, without warm-up or windows.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) requests: Option<u64>,
    /// Seeds the times of the open loop.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// How the result is written.
    #[arg(long, value_enum, default_value_t = BenchFormat::Table)]
    pub(crate) format: BenchFormat,
    /// Where it goes; standard output where absent. The file appears when it is complete.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// What is asked of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum View {
    /// Scores.
    Basic,
    /// Scores and every picture.
    Full,
}

impl View {
    pub(crate) fn on_the_wire(self) -> v1::View {
        match self {
            Self::Basic => v1::View::Basic,
            Self::Full => v1::View::Full,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchFormat {
    /// For people.
    Table,
    /// One JSON object.
    Json,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("a number above 0 is expected".to_owned()),
    }
}
