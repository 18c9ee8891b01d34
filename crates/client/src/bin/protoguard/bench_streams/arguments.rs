use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::arguments::PayloadKind;

/// How many cameras, how fast, and for how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct BenchStreamsArguments {
    /// The servers, separated by commas: a camera whose stream ends goes on at the next.
    #[arg(
        long,
        env = "PROTOGUARD_ADDRESS",
        default_value = "http://127.0.0.1:50051",
        value_delimiter = ','
    )]
    pub(crate) address: Vec<String>,
    /// "name" or "name@version"; the server's default model where absent.
    #[arg(long, default_value = "")]
    pub(crate) model: String,
    /// Cameras.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) streams: u16,
    /// Connections to a server that the cameras share; absent for one each.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) connections: Option<u16>,
    /// What happens to frames for which the server has no time.
    #[arg(long, value_enum, default_value_t = Mode::Live)]
    pub(crate) mode: Mode,
    /// Milliseconds between the frames that a live camera sends.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=3_600_000))]
    pub(crate) interval_ms: u32,
    /// Milliseconds between frames by their time stamps; as they are sent where absent.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3_600_000))]
    pub(crate) stamp_ms: Option<u32>,
    /// Frames of a camera.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) frames: u64,
    /// Cameras beside those that send as much and read no answer for so long as the others stream.
    #[arg(long, default_value_t = 0)]
    pub(crate) deaf: u16,
    /// The picture flickers for six frames out of so many, which raises alarms; 0 for never.
    #[arg(long, default_value_t = 0)]
    pub(crate) flicker: u64,
    /// False alarms an hour to ask for; the server's choice where absent.
    #[arg(long)]
    pub(crate) false_alarms: Option<f64>,
    /// What drawn frames travel as.
    #[arg(long, value_enum, default_value_t = PayloadKind::Jpeg)]
    pub(crate) payload: PayloadKind,
    /// Side of the drawn frames in pixels; the model's where absent.
    #[arg(long)]
    pub(crate) side: Option<usize>,
    /// Where the JSON goes; standard output where absent. The file appears when it is complete.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// At the pace of a camera; the server may skip.
    Live,
    /// As fast as the server takes them.
    Lossless,
}
