//! The three programs, built for speed.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::process::Children;
use crate::workspace::Workspace;

/// Where the built programs lie.
#[derive(Clone, Debug)]
pub struct Programs {
    workspace: Workspace,
    folder: PathBuf,
}

impl Programs {
    /// Builds trainer, server and client.
    ///
    /// # Errors
    /// When one of them does not build.
    pub fn build(workspace: &Workspace, children: &Arc<Children>) -> Result<Self> {
        eprintln!("building (minutes the first time)");
        let mut cargo = workspace.cargo(&["build", "--release", "--bins"]);
        for package in ["protoguard-trainer", "protoguard-server", "protoguard-client"] {
            cargo.args(["--package", package]);
        }
        children.run(cargo.stdout(standard_error()?))?;
        let folder = workspace.metadata()?.target_directory.join("release").into();
        Ok(Self { workspace: workspace.clone(), folder })
    }

    /// The recipe of the training, the only place where it is written down.
    pub fn recipe(&self) -> PathBuf {
        self.workspace.root().join("crates/trainer/presets/demo.toml")
    }

    /// The trainer, which keeps no frames.
    pub fn trainer(&self) -> Command {
        let mut command = self.program("protoguard-trainer");
        // The scenes are drawn anew for every demo: their frames are of no use to a later one.
        command.env("PROTOGUARD_CACHE", "off");
        command
    }

    /// The server.
    pub fn server(&self) -> Command {
        self.program("protoguard-server")
    }

    /// The client.
    pub fn client(&self) -> Command {
        self.program("protoguard")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join(name));
        command.stdin(Stdio::null());
        // Standard output is the demo's own; a program's belongs with its progress.
        if let Ok(stderr) = standard_error() {
            command.stdout(stderr);
        }
        self.workspace.find_libtorch(&mut command);
        command
    }
}

/// Where a started program's standard output goes when this program's own is for its results.
pub(crate) fn standard_error() -> Result<Stdio> {
    let stderr = io::stderr().as_fd().try_clone_to_owned().context("standard error is closed")?;
    Ok(Stdio::from(stderr))
}
