//! The crates of others, held against `deny.toml` by cargo-deny: licences, sources, second
//! versions, and known vulnerabilities.
//!
//! The program and the database of advisories come over the network. Where that does not answer, what
//! needs it is skipped with a word; it is no fault of the change that is checked. A pin that names no
//! package, or another one, is.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use protoguard_launch::pip::PipError;
use protoguard_launch::process::status;
use protoguard_launch::tools::Tools;
use protoguard_launch::workspace::Workspace;

const DENY: Tools = Tools {
    name: "deny",
    requirements: "crates/xtask/deny/requirements.txt",
    with_dependencies: false,
};

/// Whether the policy allows what the lock file names, as far as that can be checked here.
///
/// # Errors
/// When the program is not what its file pins, or does not start.
pub(super) fn are_allowed(workspace: &Workspace) -> Result<bool> {
    let folder = match DENY.install(workspace) {
        Ok(folder) => folder,
        Err(error) if matches!(error.downcast_ref(), Some(PipError::Unreachable { .. })) => {
            eprintln!("skipped: licences, sources, versions and advisories of crates: {error:#}");
            return Ok(true);
        }
        Err(error) => return Err(error),
    };
    let program = folder.join("bin/cargo-deny");
    let mut allowed = passes(workspace, &program, &["check", "bans", "licenses", "sources"])?;
    if passes(workspace, &program, &["fetch", "db"])? {
        allowed &= passes(workspace, &program, &["check", "--disable-fetch", "advisories"])?;
    } else {
        eprintln!("skipped: advisories of crates; their database cannot be had, as said above");
    }
    Ok(allowed)
}

fn passes(workspace: &Workspace, program: &Path, arguments: &[&str]) -> Result<bool> {
    let mut command = Command::new(program);
    command.arg("--locked").args(arguments).current_dir(workspace.root());
    Ok(status(&mut command)?.success())
}
