//! Where a demo works, and where its results end up.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A fresh folder that becomes `demo/` when all went well, and is removed otherwise.
#[derive(Debug)]
pub(super) struct DemoFolder {
    work: PathBuf,
    place: PathBuf,
    // Held until the end, so that two demos do not take each other's folder.
    _lock: File,
}

impl DemoFolder {
    /// Makes the working folder.
    ///
    /// # Errors
    /// When it cannot be made, or another demo is running in this checkout.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let target = root.join("target");
        let work = target.join("demo-work");
        let unusable = || format!("{} cannot be used", target.display());
        fs::create_dir_all(&target).with_context(unusable)?;
        let lock = File::create(target.join("demo.lock")).with_context(unusable)?;
        if lock.try_lock().is_err() {
            bail!("another demo is running in {}", root.display());
        }
        remove(&work)?;
        fs::create_dir_all(&work).with_context(unusable)?;
        Ok(Self { work, place: root.join("demo"), _lock: lock })
    }

    /// Where to work.
    pub(super) fn work(&self) -> &Path {
        &self.work
    }

    /// Where the results will lie.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// Puts the results in place of the last ones.
    ///
    /// # Errors
    /// When the last ones cannot be moved away; they then stay.
    pub(super) fn publish(self) -> Result<()> {
        let last = self.work.with_file_name("demo-last");
        remove(&last)?;
        let unusable = || format!("{} cannot be replaced", self.place.display());
        if self.place.exists() {
            fs::rename(&self.place, &last).with_context(unusable)?;
        }
        fs::rename(&self.work, &self.place).with_context(unusable)?;
        remove(&last)
    }
}

impl Drop for DemoFolder {
    fn drop(&mut self) {
        // Gone already when it was published.
        let _ = remove(&self.work);
    }
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("{} cannot be removed", folder.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_replace_the_last_ones() {
        let root = tempfile::tempdir().unwrap();
        for text in ["first", "second"] {
            let folder = DemoFolder::open(root.path()).unwrap();
            fs::write(folder.work().join("scores"), text).unwrap();
            folder.publish().unwrap();
            assert_eq!(fs::read_to_string(root.path().join("demo/scores")).unwrap(), text);
        }
        let left: Vec<_> = fs::read_dir(root.path().join("target")).unwrap().collect();
        assert_eq!(left.len(), 1, "only the lock stays: {left:?}");
    }

    #[test]
    fn a_failed_run_leaves_the_last_results() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("demo")).unwrap();
        fs::write(root.path().join("demo/scores"), "good").unwrap();
        let folder = DemoFolder::open(root.path()).unwrap();
        let work = folder.work().to_owned();
        fs::write(work.join("scores"), "half").unwrap();
        drop(folder);
        assert!(!work.exists());
        assert_eq!(fs::read_to_string(root.path().join("demo/scores")).unwrap(), "good");
    }

    #[test]
    fn two_demos_do_not_mix() {
        let root = tempfile::tempdir().unwrap();
        let first = DemoFolder::open(root.path()).unwrap();
        let message = DemoFolder::open(root.path()).unwrap_err().to_string();
        assert!(message.starts_with("another demo is running"), "{message}");
        assert!(first.work().exists(), "the second did not touch the first's folder");
    }
}
