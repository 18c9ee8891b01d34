//! `cargo xtask bench`: the benchmarks, which are a crate of their own that nothing else waits for.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};
use protoguard_launch::workspace::Workspace;

/// What the benchmarks are told.
#[derive(Clone, Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct BenchArgs {
    /// A command of the benchmarks and its flags; --help lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Becomes the benchmarks' program, built as this one is: what it measures is built for speed, not
/// it. Signals, output, the exit code and the caller's folder are its own from then on.
///
/// # Errors
/// When cargo cannot be started.
pub(crate) fn run(workspace: &Workspace, args: &BenchArgs) -> Result<Infallible> {
    let mut cargo = workspace.cargo(&["run", "--quiet", "--profile", "xtask"]);
    cargo.arg("--manifest-path").arg(workspace.root().join("crates/lab/Cargo.toml"));
    let error = cargo.arg("--").args(&args.arguments).current_dir(".").exec();
    Err(error).context("cargo cannot be started")
}
