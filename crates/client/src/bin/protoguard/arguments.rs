//! The command line. Wrong usage is one line on standard error and exit code 2.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use protoguard_client::ClientOptions;
use protoguard_core::FrameInterval;
use protoguard_frames::pace::parse_rate;
use serde::Serialize;

use crate::bench::BenchArguments;
use crate::bench_streams::BenchStreamsArguments;

/// Scores video on a Protoguard server.
#[derive(Debug, Parser)]
#[command(name = "protoguard", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Score every frame of videos against what the model knows as normal.
    Score(Box<ScoreArguments>),
    /// List the models that a server has loaded.
    Models(ServerArguments),
    /// Ask whether a server is serving; exit code 1 when it is not.
    Health(HealthArguments),
    /// Load a server and measure its rate and latency.
    Bench(Box<BenchArguments>),
    /// Load a server with cameras that stream, and count what becomes of their frames.
    BenchStreams(Box<BenchStreamsArguments>),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ServerArguments {
    /// The server.
    #[arg(long, env = "PROTOGUARD_ADDRESS", default_value = "http://127.0.0.1:50051")]
    pub(crate) address: String,
    /// Milliseconds a call may take, all its retries included.
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub(crate) deadline_ms: u64,
}

impl ServerArguments {
    pub(crate) fn options(&self) -> ClientOptions {
        ClientOptions { deadline: Duration::from_millis(self.deadline_ms), ..Default::default() }
    }
}

#[derive(Args, Debug)]
pub(crate) struct HealthArguments {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    /// One service by its full name; the whole server by default.
    #[arg(long, default_value = "")]
    pub(crate) service: String,
}

#[derive(Args, Debug)]
pub(crate) struct ScoreArguments {
    /// Folders of frames, folders of such folders, or video files; their order is the labels'.
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    /// "name" or "name@version"; the server's default model where absent.
    #[arg(long, default_value = "")]
    pub(crate) model: String,
    /// Scene whose calibration applies; the calibration of all scenes where absent.
    #[arg(long, default_value = "")]
    pub(crate) scene: String,
    /// Frames a second of folders of frames: they are thinned to the model's rate, as video files
    /// are by their own time stamps. Taken as being of the model's rate where absent.
    #[arg(long, value_name = "FPS", value_parser = parse_rate)]
    pub(crate) fps: Option<FrameInterval>,
    /// Ground truth: one value a frame of all videos in order, 0 for normal, else abnormal.
    #[arg(long, value_name = "FILE.npy")]
    pub(crate) labels: Option<PathBuf>,
    /// How results are written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// Where results go; standard output where absent. The file appears when it is complete.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Draw the anomaly score over time, one strip a video.
    #[arg(long, value_name = "FILE.png", value_parser = png_path)]
    pub(crate) picture: Option<PathBuf>,
    /// Draw this many of the most anomalous frames: input, prediction, error map, RGB difference.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "worst_dir")]
    pub(crate) worst: usize,
    /// Where they go.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) worst_dir: Option<PathBuf>,
    /// Clips in flight at a time.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: u16,
    /// What frames travel as; the files' own bytes for folders of JPEG or PNG files, else raw.
    #[arg(long, value_enum)]
    pub(crate) payload: Option<PayloadKind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A summary a video and the most anomalous frames.
    Table,
    /// One JSON object a scored frame, and a last one with the summary.
    Jsonl,
}

/// What a frame travels as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PayloadKind {
    /// The frame files' own bytes, resized by the server.
    Files,
    /// Resized here, 8 bits a channel.
    #[value(alias = "u8")]
    Raw,
    /// Resized here, then PNG: the same pixels in fewer bytes.
    Png,
    /// Resized here, then JPEG: fewest bytes, slightly other scores.
    Jpeg,
}

fn png_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let is_png = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
    if is_png { Ok(path) } else { Err("a file name that ends in .png is expected".to_owned()) }
}

/// Answers a command line that is not run: help and version on standard output, or what is wrong
/// with it on one line.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // A pipe that closed early has read enough.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let said = text.split("\nUsage:").next().unwrap_or(&text);
    let line = if said.starts_with("error:") {
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    } else {
        "error: a command is expected: score, models, health or bench (see protoguard --help)"
            .to_owned()
    };
    // Standard error may be closed; there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{line}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn defaults_need_nothing_but_a_path() {
        let arguments = Arguments::try_parse_from(["protoguard", "score", "frames"]).unwrap();
        let Command::Score(score) = arguments.command else { panic!("score was asked for") };
        assert_eq!(score.concurrency, 4);
        assert_eq!(score.payload, None);
        assert_eq!(score.format, Format::Table);
    }

    #[test]
    fn a_picture_is_a_png() {
        let wrong = ["protoguard", "score", "frames", "--picture", "curve.gif"];
        let error = Arguments::try_parse_from(wrong).unwrap_err().to_string();
        assert!(error.contains("ends in .png"), "{error}");
    }
}
