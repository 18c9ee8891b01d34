//! Where the checkout is, how cargo is called in it, and what cargo knows of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cargo_metadata::{Metadata, MetadataCommand};

/// The crates that need libtorch, and only they. `cargo xtask ci` checks that the others do not.
pub const WITH_LIBTORCH: [&str; 5] = [
    "protoguard-kernels",
    "protoguard-model",
    "protoguard-trainer",
    "protoguard-server",
    "protoguard-tests",
];

/// The checkout that this command works on.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace that this program was built from.
    ///
    /// # Errors
    /// When its folder, which `CARGO_MANIFEST_DIR` names where cargo runs this, holds no workspace.
    pub fn locate() -> Result<Self> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
        let root = Path::new(&manifest)
            .ancestors()
            .nth(2)
            .with_context(|| format!("{} is not inside a workspace", manifest.display()))?
            .to_owned();
        ensure!(root.join("Cargo.lock").exists(), "{} is not the workspace", root.display());
        Ok(Self { root })
    }

    /// The workspace's top folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that `.cargo/config.toml` points torch-sys and the programs at.
    pub fn libtorch(&self) -> PathBuf {
        self.root.join(".libtorch")
    }

    /// A cargo call in the workspace.
    ///
    /// The programs find libtorch relative to `target/`. Where builds go elsewhere, the loader is
    /// told.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments).current_dir(&self.root);
        self.find_libtorch(&mut command);
        command
    }

    /// Tells the loader of `command` where libtorch lies, if its place relative to the programs
    /// does not.
    pub fn find_libtorch(&self, command: &mut Command) {
        let elsewhere = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "RUSTFLAGS"];
        if elsewhere.iter().any(|name| std::env::var_os(name).is_some()) {
            command.env("LD_LIBRARY_PATH", self.libtorch().join("lib"));
        }
    }

    /// The whole resolved dependency graph.
    ///
    /// # Errors
    /// When cargo cannot resolve it, with cargo's reason.
    pub fn metadata(&self) -> Result<Metadata> {
        let platform = "--filter-platform=x86_64-unknown-linux-gnu".to_owned();
        let mut command = MetadataCommand::new();
        command.current_dir(&self.root).other_options([platform]).exec().context("cargo metadata")
    }

    /// Names of the crates that build without libtorch.
    ///
    /// # Errors
    /// As [`Workspace::metadata`].
    pub fn light_crates(&self) -> Result<Vec<String>> {
        let metadata = self.metadata()?;
        let names =
            metadata.workspace_packages().into_iter().map(|package| package.name.to_string());
        Ok(names.filter(|name| !WITH_LIBTORCH.contains(&name.as_str())).collect())
    }
}
