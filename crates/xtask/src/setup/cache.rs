//! One unpacked libtorch for all checkouts of a user.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::wheels::Wheels;
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

    /// The unpacked view, fetched where it is not there yet.
    ///
    /// # Errors
    /// As [`Wheels::fetch`].
    pub(super) fn view(&self, wheels: &Wheels) -> Result<PathBuf> {
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
        let fetched = wheels.fetch(&downloads, &fresh).and_then(|()| view::finish(&fresh));
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

fn folder(cache: Option<&OsStr>, home: Option<&OsStr>) -> Result<PathBuf> {
    let cache = cache.map(Path::new).filter(|path| path.is_absolute()).map(Path::to_owned);
    let home = home.filter(|home| !home.is_empty()).map(|home| Path::new(home).join(".cache"));
    let base = cache.or(home);
    Ok(base
        .context("neither XDG_CACHE_HOME nor HOME names a folder to cache libtorch in")?
        .join("protoguard"))
}

#[cfg(test)]
mod tests {
    use super::super::index::{Index, TORCH};
    use super::*;

    #[test]
    fn the_cache_is_found_like_any_programs() {
        let (cache, home) = (Some(OsStr::new("/c")), Some(OsStr::new("/h")));
        assert_eq!(folder(cache, home).unwrap(), Path::new("/c/protoguard"));
        assert_eq!(folder(None, home).unwrap(), Path::new("/h/.cache/protoguard"));
        assert_eq!(
            folder(Some(OsStr::new("relative")), home).unwrap(),
            Path::new("/h/.cache/protoguard")
        );
        assert!(folder(None, None).unwrap_err().to_string().contains("XDG_CACHE_HOME"));
    }

    #[test]
    fn a_second_set_up_waits_for_the_first() {
        let home = tempfile::tempdir().unwrap();
        let first = Cache::open_in(home.path().to_owned()).unwrap();
        let lock = File::open(home.path().join("lock")).unwrap();
        assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
        drop(first);
        lock.try_lock().unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_second_checkout_needs_neither_pip_nor_network() {
        let home = Index::draw();
        let cache = Cache::open_in(home.at("cache")).unwrap();
        // What a set-up left that was killed while it unpacked.
        fs::create_dir_all(home.at("cache/unpacking/lib")).unwrap();
        fs::write(home.at("cache/unpacking/lib/libold.so"), "half").unwrap();
        let fetched = cache.view(&home.wheels()).unwrap();
        assert!(view::is_complete(&fetched));
        assert!(!fetched.join("lib/libold.so").exists());
        assert_eq!(names(&home.at("cache")), ["libtorch-2.11.0-cpu", "lock"]);
        fs::remove_dir_all(home.at("simple")).unwrap();
        fs::remove_file(home.at("requirements.txt")).unwrap();
        assert_eq!(cache.view(&home.wheels()).unwrap(), fetched);
    }

    #[test]
    fn what_fails_while_it_unpacks_leaves_the_downloads_alone() {
        let home = Index::draw();
        let cache = Cache::open_in(home.at("cache")).unwrap();
        let script = home.at("broken.py");
        let broken = "import os, sys\nos.makedirs(sys.argv[3])\nsys.exit('a wheel is broken')\n";
        fs::write(&script, broken).unwrap();
        let error = cache.view(&Wheels { script, ..home.wheels() }).unwrap_err();
        assert_eq!(error.to_string(), "a wheel is broken");
        assert_eq!(names(&home.at("cache")), ["downloads", "lock"]);
        fs::remove_file(home.at("simple/torch").join(TORCH)).unwrap();
        assert!(view::is_complete(&cache.view(&home.wheels()).unwrap()));
    }
}
