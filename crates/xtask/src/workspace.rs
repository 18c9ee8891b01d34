//! Where the checkout is, how cargo is called in it, and what cargo knows of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The crates that need libtorch, and only they. `cargo xtask ci` checks that the others do not.
pub(crate) const WITH_LIBTORCH: [&str; 4] =
    ["protoguard-model", "protoguard-trainer", "protoguard-server", "protoguard-tests"];

/// The checkout that this command works on.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace that this program was built from.
    pub(crate) fn locate() -> Result<Self> {
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
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that `.cargo/config.toml` points torch-sys and the programs at.
    pub(crate) fn libtorch(&self) -> PathBuf {
        self.root.join(".libtorch")
    }

    /// A cargo call in the workspace.
    ///
    /// The programs find libtorch relative to `target/`. Where builds go elsewhere, the loader is
    /// told.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments).current_dir(&self.root);
        self.find_libtorch(&mut command);
        command
    }

    /// Tells the loader of `command` where libtorch lies, if its place relative to the programs
    /// does not.
    pub(crate) fn find_libtorch(&self, command: &mut Command) {
        let elsewhere = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "RUSTFLAGS"];
        if elsewhere.iter().any(|name| std::env::var_os(name).is_some()) {
            command.env("LD_LIBRARY_PATH", self.libtorch().join("lib"));
        }
    }

    /// The whole resolved dependency graph.
    pub(crate) fn metadata(&self) -> Result<Metadata> {
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
    pub(crate) fn light_crates(&self) -> Result<Vec<String>> {
        let metadata = self.metadata()?;
        let names = metadata.members().map(|package| package.name.clone());
        Ok(names.filter(|name| !WITH_LIBTORCH.contains(&name.as_str())).collect())
    }
}

/// The part of `cargo metadata` that the checks read.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: Vec<String>,
    pub(crate) resolve: Resolve,
    pub(crate) target_directory: PathBuf,
}

/// A crate, of the workspace or from outside.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) targets: Vec<Target>,
}

/// A library, program, test or bench of a crate.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

/// What depends on what, after features were chosen.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Resolve {
    pub(crate) nodes: Vec<Node>,
}

/// One crate's dependencies.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) deps: Vec<Dependency>,
}

/// One arrow, perhaps for several purposes.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) pkg: String,
    pub(crate) dep_kinds: Vec<DependencyKind>,
}

/// What an arrow is for.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct DependencyKind {
    /// None for normal dependencies, else `dev` or `build`.
    pub(crate) kind: Option<String>,
}

impl Dependency {
    /// Whether tests, benches and examples alone need it.
    pub(crate) fn is_dev_only(&self) -> bool {
        self.dep_kinds.iter().all(|kind| kind.kind.as_deref() == Some("dev"))
    }
}

impl Metadata {
    /// The crates of the workspace.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Names by identity.
    pub(crate) fn names(&self) -> BTreeMap<&str, &str> {
        self.packages.iter().map(|p| (p.id.as_str(), p.name.as_str())).collect()
    }
}
