//! One unpacked libtorch for all checkouts of a user.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::{VERSION, view};

/// The cache folder, held for this process alone.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    // The lock is given back when the file is closed, however the process ends.
    _lock: File,
}

impl Cache {
    /// Opens `$XDG_CACHE_HOME/protoguard` or `~/.cache/protoguard`, and waits for others to leave.
    ///
    /// # Errors
    /// When no home is known or the folder cannot be written.
    pub(super) fn open() -> Result<Self> {
        Self::open_in(folder(
            env::var_os("XDG_CACHE_HOME").as_deref(),
            env::var_os("HOME").as_deref(),
        )?)
    }

    fn open_in(folder: PathBuf) -> Result<Self> {
        let unusable = || format!("the cache folder {} cannot be used", folder.display());
        fs::create_dir_all(&folder).with_context(unusable)?;
        let lock = File::create(folder.join("lock")).with_context(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!("another set-up is running; waiting for it");
                lock.lock().with_context(unusable)?;
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(unusable),
        }
        Ok(Self { folder, _lock: lock })
    }

    /// The unpacked view, fetched by `script` where it is not there yet.
    ///
    /// # Errors
    /// When Python is missing, or the script says why it could not fetch.
    pub(super) fn view(&self, script: &Path) -> Result<PathBuf> {
        let finished = self.folder.join(format!("libtorch-{VERSION}-cpu"));
        if view::is_complete(&finished) {
            return Ok(finished);
        }
        let (fresh, downloads) = (self.folder.join("unpacking"), self.folder.join("downloads"));
        view::remove(&fresh)?;
        eprintln!(
            "fetching libtorch {VERSION} (0.5 GB, once a user) into {}",
            self.folder.display()
        );
        let fetched = fetch(python(script, &downloads, &fresh)).and_then(|()| view::finish(&fresh));
        if fetched.is_err() {
            let _ = view::remove(&fresh);
        }
        fetched?;
        view::remove(&finished)?;
        fs::rename(&fresh, &finished)
            .with_context(|| format!("{} cannot be made", finished.display()))?;
        view::remove(&downloads)?;
        Ok(finished)
    }
}

fn python(script: &Path, downloads: &Path, fresh: &Path) -> Command {
    let mut command = Command::new("python3");
    command.arg("-B").args([script, downloads, fresh]);
    command
}

/// Runs the script; the last line that it prints is its reason to fail.
fn fetch(mut python: Command) -> Result<()> {
    let output = match python.stdin(Stdio::null()).stderr(Stdio::inherit()).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("python3 is not installed; libtorch is fetched with it (any Python from 3.8 on)")
        }
        outcome => outcome.context("python3 cannot be started")?,
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let said = said.lines().last().unwrap_or("python3 ended without saying why");
    ensure!(output.status.success(), "{said}");
    Ok(())
}

fn folder(cache: Option<&OsStr>, home: Option<&OsStr>) -> Result<PathBuf> {
    let cache = cache.map(Path::new).filter(|path| path.is_absolute()).map(Path::to_owned);
    let home = home.filter(|home| !home.is_empty()).map(|home| Path::new(home).join(".cache"));
    let base = cache.or(home);
    Ok(base
        .context("neither XDG_CACHE_HOME nor HOME names a folder to cache libtorch in")?
        .join("protoguard"))
}

#[cfg(test)]
mod tests;
