//! The `protoguard` command: scores video on a Protoguard server, and measures one.

mod arguments;
mod bench;
mod bench_streams;
mod health;
mod models;
mod output;
mod picture;
mod score;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use arguments::{Arguments, Command};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// What a shell expects of a program that was interrupted.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return arguments::refuse(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = run(arguments.command) => ended,
            waited = interrupted() => waited.map(|()| ExitCode::from(INTERRUPTED)),
        }
    });
    // A thread that reads a video may be in the middle of a frame; nothing waits for it.
    runtime.shutdown_background();
    ended.unwrap_or_else(|error| fail(&error))
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Score(arguments) => score::run(*arguments).await,
        Command::Models(arguments) => models::run(arguments).await,
        Command::Health(arguments) => health::run(arguments).await,
        Command::Bench(arguments) => bench::run(*arguments).await,
        Command::BenchStreams(arguments) => bench_streams::run(*arguments).await,
    }
}

async fn interrupted() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen for signals"),
        _ = terminate.recv() => Ok(()),
    }
}

/// One line on standard error; silence where the reader of our output has left.
fn fail(error: &anyhow::Error) -> ExitCode {
    let left = |cause: &&(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    };
    if error.chain().find(left).is_some() {
        return ExitCode::SUCCESS;
    }
    let line = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
    // Standard error may be closed too; there is nobody left to tell.
    let _ = writeln!(io::stderr(), "error: {line}");
    ExitCode::FAILURE
}
