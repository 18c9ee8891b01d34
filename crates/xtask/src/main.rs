//! The project's own commands, run as `cargo xtask COMMAND`.
//!
//! Everything that a newcomer, a developer or a build machine does beyond plain cargo is here, so
//! that the README and CI name the same commands. It is the first thing a fresh clone compiles,
//! hence few dependencies; libtorch is deliberately absent.
//!
//! Progress goes to standard error. What a program may want to read goes to standard output.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its caller")]

mod bench;
mod ci;
mod codegen;
mod demo;
mod fuzz;
mod images;
mod manifests;
mod setup;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use protoguard_launch::process::Children;
use protoguard_launch::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    about = "Protoguard's own commands"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lay out libtorch's CPU library in .libtorch, from the package index that pip uses
    Setup {
        /// Folder to create [default: .libtorch in the workspace]
        #[arg(long)]
        dest: Option<PathBuf>,
    },
    /// Draw scenes, train, serve, score over gRPC, and print how well it went
    Demo(demo::DemoArgs),
    /// Set up and run all tests
    Test(test::TestArgs),
    /// Everything that must hold before a change is merged
    Ci,
    /// Generate the wire types again from proto/
    Codegen,
    /// Feed broken input to everything that reads
    Fuzz(fuzz::FuzzArgs),
    /// Measure the real programs on this machine
    Bench(bench::BenchArgs),
    /// Check k8s/ without a cluster
    Manifests,
    /// Build the images without a daemon and run them as a cluster would
    Images(images::ImagesArgs),
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

fn run(command: &Command) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    // Held to the end, so that a signal between two programs ends the command as well.
    let _children = Children::watch()?;
    match command {
        Command::Setup { dest } => setup::run(&workspace, dest.as_deref())?,
        Command::Demo(args) => demo::run(&workspace, args)?,
        Command::Test(args) => return test::run(&workspace, args.selection()),
        Command::Ci => return ci::run(&workspace),
        Command::Codegen => codegen::run(&workspace)?,
        Command::Fuzz(args) => fuzz::run(&workspace, args)?,
        Command::Bench(args) => match bench::run(&workspace, args)? {},
        Command::Manifests => manifests::run(&workspace)?,
        Command::Images(args) => images::run(&workspace, args)?,
    }
    Ok(ExitCode::SUCCESS)
}
