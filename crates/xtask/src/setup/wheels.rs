//! The wheels that carry libtorch's CPU library: pip downloads them and checks their hashes, Python
//! unpacks them.
//!
//! `libtorch/requirements.txt` pins names, versions and hashes. The hashes do not come from the index
//! that the wheels come from, so another file under the same name is refused, whoever offers it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use protoguard_launch::pip;
use protoguard_launch::process::Children;
use protoguard_launch::workspace::Workspace;

use super::view;

/// The machine and Python that the pinned wheels are for, whichever Python runs pip.
const TARGET: [&str; 7] = [
    "--only-binary=:all:",
    "--implementation=cp",
    "--python-version=3.11",
    "--abi=cp311",
    "--platform=manylinux_2_28_x86_64",
    "--platform=manylinux_2_25_x86_64",
    "--platform=manylinux2014_x86_64",
];

/// Bytes on the disk at the most: wheels while pip copies them, or wheels and what is unpacked.
const NEEDED: u64 = 1_150_000_000;

/// What is fetched, and how it is unpacked.
#[derive(Debug)]
pub(super) struct Wheels {
    /// A file of pip's, smallest wheel first.
    pub(super) requirements: PathBuf,
    /// The Python program that unpacks.
    pub(super) script: PathBuf,
    /// Bytes that must be free, less those of the wheels that are there.
    pub(super) needed: u64,
    /// A package index to ask in place of the one that pip is configured for.
    pub(super) index: Option<String>,
}

impl Wheels {
    /// Those that the workspace pins.
    pub(super) fn pinned(workspace: &Workspace) -> Self {
        let folder = workspace.root().join("crates/xtask/libtorch");
        let (requirements, script) = (folder.join("requirements.txt"), folder.join("unpack.py"));
        Self { requirements, script, needed: NEEDED, index: None }
    }

    /// Downloads what is not yet in `downloads`, and unpacks it into `fresh`.
    ///
    /// # Errors
    /// When the disk is full, Python or pip is missing, the index does not answer, a file is not
    /// the one that is pinned, or this command was told to stop.
    pub(super) fn fetch(&self, downloads: &Path, fresh: &Path) -> Result<()> {
        let unfinished = downloads.join("unfinished");
        view::remove(&unfinished)?;
        fs::create_dir_all(&unfinished)
            .with_context(|| format!("{} cannot be made", unfinished.display()))?;
        need_space(downloads, self.needed)?;
        let text = fs::read_to_string(&self.requirements)
            .with_context(|| format!("{} cannot be read", self.requirements.display()))?;
        // pip hands over what it downloaded at the end of a call, hence a call for each.
        let one = unfinished.join("requirement.txt");
        for pin in pins(&text) {
            fs::write(&one, pin).with_context(|| format!("{} cannot be written", one.display()))?;
            pip::run(
                self.pip(downloads, &unfinished).arg("--requirement").arg(&one),
                &self.requirements,
            )?;
        }
        self.unpack(downloads, fresh)
    }

    /// The call of pip. It works in `unfinished`, because the system's folder for temporary files
    /// may be too small, and without its own cache, where the wheels would stay for nobody.
    fn pip(&self, downloads: &Path, unfinished: &Path) -> Command {
        let mut pip = pip::command("download");
        pip.args(["--require-hashes", "--no-deps", "--no-cache-dir"]).args(TARGET);
        pip.arg("--dest").arg(downloads).env("TMPDIR", unfinished);
        if std::env::var_os("PIP_RESUME_RETRIES").is_none() {
            // From version 25.1 on pip resumes a download; before it ignores this.
            pip.env("PIP_RESUME_RETRIES", "20");
        }
        if let Some(index) = &self.index {
            pip::ask_only(&mut pip, index);
        }
        pip
    }

    fn unpack(&self, downloads: &Path, fresh: &Path) -> Result<()> {
        eprintln!("  unpacking");
        let mut python = Command::new("python3");
        python.arg("-B").args([&self.script, &self.requirements]).args([downloads, fresh]);
        let mut reason = "python3 ended without saying why".to_owned();
        let status = Children::watch()?
            .listen(python.stdin(Stdio::null()), |line| line.clone_into(&mut reason))?;
        ensure!(status.success(), "{reason}");
        Ok(())
    }
}

/// The requirements of a file of pip's, each with its hashes in a line of its own.
fn pins(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// Refuses a disk that will be full in the middle.
fn need_space(downloads: &Path, needed: u64) -> Result<()> {
    let disk = rustix::fs::statvfs(downloads)
        .with_context(|| format!("the disk of {} cannot be asked", downloads.display()))?;
    let wheels = fs::read_dir(downloads)?.filter_map(|entry| entry.ok()?.metadata().ok());
    let present: u64 = wheels.filter(fs::Metadata::is_file).map(|wheel| wheel.len()).sum();
    let (free, needed) = (disk.f_bavail * disk.f_frsize, needed.saturating_sub(present));
    ensure!(
        free >= needed,
        "{} has {} MB free; {} MB are needed for libtorch",
        downloads.display(),
        free / 1_000_000,
        needed.div_ceil(1_000_000)
    );
    Ok(())
}

#[cfg(test)]
mod tests;
