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
    requirements: PathBuf,
    script: PathBuf,
}

impl Wheels {
    /// Those that the workspace pins.
    pub(super) fn pinned(workspace: &Workspace) -> Self {
        let folder = workspace.root().join("crates/xtask/libtorch");
        Self { requirements: folder.join("requirements.txt"), script: folder.join("unpack.py") }
    }

    /// Downloads what is not yet in `downloads`, and unpacks it into `fresh`.
    ///
    /// # Errors
    /// When the disk is full, Python or pip is missing, the index does not answer, or a file is not
    /// the one that is pinned.
    pub(super) fn fetch(&self, downloads: &Path, fresh: &Path) -> Result<()> {
        fs::create_dir_all(downloads)
            .with_context(|| format!("{} cannot be made", downloads.display()))?;
        need_space(downloads, NEEDED)?;
        pip::run(&mut self.pip(downloads)?, &self.requirements)?;
        self.unpack(downloads, fresh)
    }

    /// The call of pip. It works beside `downloads`, because the system's folder for temporary files
    /// may be too small, and without its own cache, where the wheels would stay for nobody.
    fn pip(&self, downloads: &Path) -> Result<Command> {
        let unfinished = downloads.join("unfinished");
        view::remove(&unfinished)?;
        fs::create_dir(&unfinished).context("the folder for downloads cannot be used")?;
        let mut pip = pip::command("download");
        pip.args(["--require-hashes", "--no-deps", "--no-cache-dir"]).args(TARGET);
        pip.arg("--dest").arg(downloads).arg("--requirement").arg(&self.requirements);
        pip.env("TMPDIR", &unfinished);
        if std::env::var_os("PIP_RESUME_RETRIES").is_none() {
            // From version 25.1 on pip resumes a download; before it ignores this.
            pip.env("PIP_RESUME_RETRIES", "20");
        }
        Ok(pip)
    }

    fn unpack(&self, downloads: &Path, fresh: &Path) -> Result<()> {
        eprintln!("  unpacking");
        let mut python = Command::new("python3");
        python.arg("-B").args([&self.script, &self.requirements]).args([downloads, fresh]);
        let output = python.stdin(Stdio::null()).output().context("python3 cannot be started")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let reason = said.lines().last().unwrap_or("python3 ended without saying why");
        ensure!(output.status.success(), "{reason}");
        Ok(())
    }
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
