//! `cargo xtask manifests`: every check of `k8s/` and of the Dockerfile that needs no cluster.
//!
//! The checks are Python (`k8s/tests`), as the schemas, models and linters of others are.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use protoguard_launch::process::status;
use protoguard_launch::tools::Tools;
use protoguard_launch::workspace::Workspace;

const CHECKS: Tools = Tools {
    name: "manifests",
    requirements: "k8s/tests/requirements.txt",
    with_dependencies: true,
};
const CHECKOV: Tools = Tools {
    name: "checkov",
    requirements: "k8s/tests/requirements-checkov.txt",
    with_dependencies: true,
};

/// Renders, validates, lints, and shows that each check objects to what it is there for.
///
/// # Errors
/// When the tools cannot be installed, or a check fails.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let (checks, checkov) = (CHECKS.install(workspace)?, CHECKOV.install(workspace)?);
    let mut manifests = python(&checks.join("bin"))?;
    manifests.arg(workspace.root().join("k8s/tests/manifests.py"));
    manifests.arg(checkov.join("bin/checkov"));
    ensure!(
        status(&mut manifests)?.success(),
        "checks of the manifests failed; they are listed above"
    );
    Ok(())
}

/// Python with the programs of `bin` before all others.
///
/// # Errors
/// When the search path cannot hold the folder.
pub(crate) fn python(bin: &std::path::Path) -> Result<Command> {
    let others = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(bin.to_owned()).chain(std::env::split_paths(&others));
    let mut command = Command::new(bin.join("python"));
    command.env("PATH", std::env::join_paths(folders).context("a folder that PATH can hold")?);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}
