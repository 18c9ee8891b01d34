//! `cargo xtask images`: the images of `docker/`, built without a daemon and run as a cluster would.
//!
//! The checks are Python (`docker/tests`) around buildah and podman; see there for what they need.

use anyhow::{Result, ensure};
use clap::Args;

use crate::manifests::python;
use protoguard_launch::process::status;
use protoguard_launch::tools::Tools;
use protoguard_launch::workspace::Workspace;

const CHECKS: Tools = Tools {
    name: "images",
    requirements: "docker/tests/requirements.txt",
    with_dependencies: true,
};

#[derive(Args, Debug)]
pub(crate) struct ImagesArgs {
    /// Build this target alone; repeat for more [default: all]
    #[arg(long)]
    target: Vec<String>,
    /// Make this check alone: server, cuda, no-gpu, kube, replicas; repeat for more [default: all]
    #[arg(long)]
    check: Vec<String>,
    /// Check the images of the last time
    #[arg(long)]
    no_build: bool,
}

/// Builds and checks; the last line on standard output is one JSON object of sizes and times.
///
/// # Errors
/// When the tools cannot be installed, an image does not build, or a check fails.
pub(crate) fn run(workspace: &Workspace, args: &ImagesArgs) -> Result<()> {
    let bin = CHECKS.install(workspace)?.join("bin");
    let mut command = python(&bin)?;
    command.arg(workspace.root().join("docker/tests/images.py"));
    for target in &args.target {
        command.args(["--target", target]);
    }
    for check in &args.check {
        command.args(["--check", check]);
    }
    if args.no_build {
        command.arg("--no-build");
    }
    ensure!(
        status(&mut command)?.success(),
        "images or their checks failed; the reasons are above"
    );
    Ok(())
}
