//! Values that are read again when their files change.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tracing::{info, warn};

use super::files::CredentialError;
use crate::file_stamp::FileStamp;

/// What was read from files that may change.
pub(super) struct Rotating<T> {
    /// For the log.
    what: &'static str,
    paths: Vec<PathBuf>,
    read: Box<dyn Fn() -> Result<T, CredentialError> + Send + Sync>,
    current: RwLock<Arc<T>>,
    /// The files as they were when they were last tried.
    tried: Mutex<Vec<Option<FileStamp>>>,
}

impl<T> fmt::Debug for Rotating<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rotating({})", self.what)
    }
}

impl<T> Rotating<T> {
    pub(super) fn open(
        what: &'static str,
        paths: Vec<PathBuf>,
        read: impl Fn() -> Result<T, CredentialError> + Send + Sync + 'static,
    ) -> Result<Self, CredentialError> {
        // Looked at first: a change in between is noticed at the next look.
        let tried = Mutex::new(stamps(&paths));
        let current = RwLock::new(Arc::new(read()?));
        Ok(Self { what, paths, read: Box::new(read), current, tried })
    }

    pub(super) fn current(&self) -> Arc<T> {
        // Whole values are exchanged, so a panic elsewhere spoils nothing.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again if they have changed since they were last tried.
    pub(super) fn refresh(&self) {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let found = stamps(&self.paths);
        if *tried == found {
            return;
        }
        *tried = found;
        match (self.read)() {
            Ok(fresh) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
                info!(what = self.what, "rotated");
            }
            Err(error) => {
                warn!(what = self.what, error = %error, "not rotated; the last one is in force");
            }
        }
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Option<FileStamp>> {
    paths.iter().map(|path| FileStamp::of(path).ok()).collect()
}
