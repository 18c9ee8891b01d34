//! `cargo xtask bench`: how fast and how steady the real programs are on this machine.
//!
//! The programs do the work and the measuring: `protoguard bench` loads, `protoguard-server bare`
//! runs the forward pass alone. This module puts them together, so that both sides of a ratio come
//! from one run, the same binaries, the same weights and the same machine.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its caller")]

mod lab;
mod loads;
mod machine;
mod model;
mod peers;
mod results;
mod scaling;
mod scrape;
mod service;
mod soak;
mod streams;
mod training;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use protoguard_launch::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask bench",
    bin_name = "cargo xtask bench",
    about = "Measure the real programs on this machine"
)]
struct Cli {
    #[command(subcommand)]
    command: BenchCommand,
}

/// What is measured.
#[derive(Clone, Debug, Subcommand)]
enum BenchCommand {
    /// The ratios E1 to E9 of the service, into benches/results/
    Service(service::ServiceArgs),
    /// Cameras that stream, S1 to S7, into benches/results/
    Streams(streams::StreamsArgs),
    /// A training step beside the same step in PyTorch, into benches/results/
    Training(training::TrainingArgs),
    /// The forward pass beside PyTorch, ONNX Runtime and OpenVINO, into benches/results/
    Model(model::ModelArgs),
    /// Throughput over batch, side, width and callers, into benches/results/
    Scaling(scaling::ScalingArgs),
    /// Serve at 70 % load for a while with faults thrown in, and look for any harm
    Soak(soak::SoakArgs),
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures.
///
/// # Errors
/// When a program fails, or this command is told to stop; children are ended first.
fn run(command: &BenchCommand) -> Result<ExitCode> {
    let workspace = &Workspace::locate()?;
    match command {
        BenchCommand::Service(args) => service::run(workspace, args),
        BenchCommand::Streams(args) => streams::run(workspace, args),
        BenchCommand::Training(args) => training::run(workspace, args),
        BenchCommand::Model(args) => model::run(workspace, args),
        BenchCommand::Scaling(args) => scaling::run(workspace, args),
        BenchCommand::Soak(args) => soak::run(workspace, args),
    }
}
