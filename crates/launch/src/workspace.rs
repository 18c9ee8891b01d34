//! Where the checkout is, how cargo is called in it, and what cargo knows of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The crates that need libtorch, and only they. `cargo xtask ci` checks that the others do not.
pub const WITH_LIBTORCH: [&str; 4] =
    ["protoguard-model", "protoguard-trainer", "protoguard-server", "protoguard-tests"];

/// The checkout that this command works on.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace that this program was built from.
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
    pub fn metadata(&self) -> Result<Metadata> {
        let output = self
            .cargo(&[
                "metadata",
                "--format-version=1",
                "--filter-platform=x86_64-unknown-linux-gnu",
            ])
            .output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cargo metadata failed: {}", complaint.trim());
        serde_json::from_slice(&output.stdout).context("cargo metadata cannot be read")
    }

    /// Names of the crates that build without libtorch.
    pub fn light_crates(&self) -> Result<Vec<String>> {
        let metadata = self.metadata()?;
        let names = metadata.members().map(|package| package.name.clone());
        Ok(names.filter(|name| !WITH_LIBTORCH.contains(&name.as_str())).collect())
    }
}

/// The part of `cargo metadata` that the checks read.
#[derive(Clone, Debug, Deserialize)]
pub struct Metadata {
    /// Every crate, of the workspace or not.
    pub packages: Vec<Package>,
    /// Identities of the workspace's own.
    pub workspace_members: Vec<String>,
    /// What depends on what.
    pub resolve: Resolve,
    /// Where builds go.
    pub target_directory: PathBuf,
}

/// A crate, of the workspace or from outside.
#[derive(Clone, Debug, Deserialize)]
pub struct Package {
    /// Its identity.
    pub id: String,
    /// Its name.
    pub name: String,
    #[serde(default)]
    /// What is built of it.
    pub targets: Vec<Target>,
}

/// A library, program, test or bench of a crate.
#[derive(Clone, Debug, Deserialize)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Its kinds.
    pub kind: Vec<String>,
}

/// What depends on what, after features were chosen.
#[derive(Clone, Debug, Deserialize)]
pub struct Resolve {
    /// One a crate.
    pub nodes: Vec<Node>,
}

/// One crate's dependencies.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// The crate's identity.
    pub id: String,
    /// What it depends on.
    pub deps: Vec<Dependency>,
}

/// One arrow, perhaps for several purposes.
#[derive(Clone, Debug, Deserialize)]
pub struct Dependency {
    /// The identity of what is depended on.
    pub pkg: String,
    /// What for.
    pub dep_kinds: Vec<DependencyKind>,
}

/// What an arrow is for.
#[derive(Clone, Debug, Deserialize)]
pub struct DependencyKind {
    /// None for normal dependencies, else `dev` or `build`.
    pub kind: Option<String>,
}

impl Dependency {
    /// Whether tests, benches and examples alone need it.
    pub fn is_dev_only(&self) -> bool {
        self.dep_kinds.iter().all(|kind| kind.kind.as_deref() == Some("dev"))
    }
}

impl Metadata {
    /// The crates of the workspace.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Names by identity.
    pub fn names(&self) -> BTreeMap<&str, &str> {
        self.packages.iter().map(|p| (p.id.as_str(), p.name.as_str())).collect()
    }
}
