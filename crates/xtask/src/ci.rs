//! `cargo xtask ci`: everything that must hold before a change is merged, quick checks first.

mod arrows;
mod dependencies;
mod tracked;

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::{fuzz, manifests, setup, test};
use protoguard_launch::process::status;
use protoguard_launch::workspace::Workspace;

/// For each reader, from the same seed every time; who has an hour runs `cargo xtask fuzz`.
const SECONDS_OF_FUZZING: u32 = 20;

/// Checks the tree, the arrows between the rooms, format, lints, documentation, dependencies and
/// manifests, fuzzes every reader for a while, then runs all tests, the model's C++ under
/// sanitizers among them.
///
/// # Errors
/// When a check fails; all of them are tried first, except that tests wait for the others.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let mut broken = Vec::new();
    for complaint in tracked::complaints(workspace)? {
        eprintln!("tree: {complaint}");
        broken.push("tree");
    }
    for complaint in arrows::complaints(&workspace.metadata()?) {
        eprintln!("arrows: {complaint}");
        broken.push("arrows");
    }
    if !status(&mut workspace.cargo(&["fmt", "--all", "--check"]))?.success() {
        broken.push("fmt");
    }
    setup::run(workspace, None)?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    if !status(&mut workspace.cargo(&clippy))?.success() {
        broken.push("clippy");
    }
    if !status(&mut documentation(workspace))?.success() {
        broken.push("doc");
    }
    if !dependencies::are_allowed(workspace)? {
        broken.push("dependencies");
    }
    if let Err(error) = manifests::run(workspace) {
        eprintln!("manifests: {error:#}");
        broken.push("manifests");
    }
    broken.dedup();
    if !broken.is_empty() {
        bail!("checks failed: {}; tests were not run", broken.join(", "));
    }
    eprintln!("tree, arrows, format, lints, documentation and manifests are in order");
    fuzz::run(workspace, &fuzz::FuzzArgs::every_reader(SECONDS_OF_FUZZING))?;
    test::run(workspace, test::Selection::Everything)
}

/// Builds the documentation of our crates; a link to nothing is an error.
fn documentation(workspace: &Workspace) -> Command {
    let mut command = workspace.cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    command
}
