//! The state of a run, kept beside its checkpoint.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use protoguard_checkpoint::{TEMPORARY_SUFFIX, temporary_prefix};
use protoguard_core::ClipShape;
use protoguard_model::Network;

use super::state::{StateError, TrainingState};
use super::step::Learner;
use crate::config::TrainingConfig;
use crate::output::folder_of;

/// Keeps the state of a run beside its checkpoint, and decides when it is time again.
#[derive(Debug)]
pub struct Saver {
    path: PathBuf,
    every_steps: u64,
    every: Option<Duration>,
    last: Instant,
    kept: bool,
    /// Held to the end of the run.
    _lock: RunLock,
}

/// A place that a run cannot be kept in, found before it starts.
#[derive(Debug, thiserror::Error)]
pub enum SaverError {
    /// Another process trains into the same file.
    #[error("--out {path:?} is being written by another run; wait for it or choose another path")]
    Busy {
        /// The checkpoint.
        path: PathBuf,
    },
    /// The disk has no room for what the run will write.
    #[error(
        "--out {path:?}: {free_mib} MiB are free in its folder; {needed_mib} MiB are needed for the checkpoint and the run's state"
    )]
    Space {
        /// The checkpoint.
        path: PathBuf,
        /// What there is.
        free_mib: u64,
        /// What there should be.
        needed_mib: u64,
    },
    /// A run is there that was not finished.
    #[error(
        "{path:?} is the state of an unfinished run; --resume goes on with it, --overwrite starts anew"
    )]
    Unfinished {
        /// The state.
        path: PathBuf,
    },
    /// The system refused.
    #[error("--out {path:?}: {source}")]
    Io {
        /// The checkpoint.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

impl Saver {
    /// Takes the place of `checkpoint` for one run and removes what a killed one left half-written.
    ///
    /// # Errors
    /// When another run is at it.
    pub fn open(checkpoint: &Path, config: &TrainingConfig) -> Result<Self, SaverError> {
        let lock = RunLock::take(checkpoint)?;
        let path = TrainingState::path_for(checkpoint);
        let failed = |source| SaverError::Io { path: checkpoint.to_owned(), source };
        for file in [checkpoint, &path] {
            remove_half_written(file).map_err(failed)?;
        }
        let minutes = config.save_minutes;
        Ok(Self {
            kept: path.exists(),
            path,
            every_steps: config.save_steps,
            every: (minutes > 0.0).then(|| Duration::from_secs_f64(60.0 * minutes)),
            last: Instant::now(),
            _lock: lock,
        })
    }

    /// Where the state is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last good state, where there is one.
    pub fn kept(&self) -> Option<&Path> {
        self.kept.then_some(self.path.as_path())
    }

    /// Whether a state should be saved after step `total_steps` of the run.
    pub fn is_due(&self, total_steps: u64) -> bool {
        let by_steps = self.every_steps > 0 && total_steps.is_multiple_of(self.every_steps);
        by_steps || self.every.is_some_and(|every| self.last.elapsed() >= every)
    }

    /// Saves a state in place of the last.
    ///
    /// # Errors
    /// When it cannot be written; the last is kept then.
    pub fn save(&mut self, state: &TrainingState, learner: &Learner) -> Result<(), StateError> {
        // After a failure too, or a full disk would be asked at every step.
        self.last = Instant::now();
        state.write(learner, &self.path)?;
        self.kept = true;
        self.last = Instant::now();
        Ok(())
    }

    /// Forgets the state of an earlier run.
    ///
    /// # Errors
    /// The system's.
    pub fn discard(&mut self) -> io::Result<()> {
        self.kept = false;
        remove_if_there(&self.path)
    }

    /// Removes the state of a run whose checkpoint is written.
    ///
    /// # Errors
    /// The system's.
    pub fn finish(self) -> io::Result<()> {
        remove_if_there(&self.path)
    }

    /// Checks that the folder has room for the checkpoint and two states, the last and the next.
    ///
    /// # Errors
    /// When it has not.
    pub fn check_space(checkpoint: &Path, network: &Network) -> Result<(), SaverError> {
        let failed = |source: rustix::io::Errno| SaverError::Io {
            path: checkpoint.to_owned(),
            source: source.into(),
        };
        let space = rustix::fs::statvfs(folder_of(checkpoint)).map_err(failed)?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        let needed = 3 * state_bytes(network);
        if free >= needed {
            return Ok(());
        }
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let (free_mib, needed_mib) = (mib(free), mib(needed));
        Err(SaverError::Space { path: checkpoint.to_owned(), free_mib, needed_mib })
    }
}

/// Weights and two moments in f32, the golden clip and the header.
fn state_bytes(network: &Network) -> u64 {
    let weights: usize = network.tensors().values().map(|tensor| tensor.numel()).sum();
    let shape: ClipShape = network.config().shape;
    (3 * 4 * weights + shape.clip_bytes() + (1 << 16)) as u64
}

/// One run at a time at a checkpoint; the system lets go of it when the process ends, however.
#[derive(Debug)]
struct RunLock {
    file: File,
    path: PathBuf,
}

impl RunLock {
    fn take(checkpoint: &Path) -> Result<Self, SaverError> {
        let name = checkpoint.file_name().unwrap_or_default().to_string_lossy();
        let path = checkpoint.with_file_name(format!(".{name}.lock"));
        let failed = |source| SaverError::Io { path: checkpoint.to_owned(), source };
        loop {
            let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(SaverError::Busy { path: checkpoint.to_owned() });
                }
                Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
            }
            if is_at(&file, &path) {
                return Ok(Self { file, path });
            }
            // The last owner removed it between the two calls.
        }
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Removed while it is held, so that whoever opened it meanwhile can tell. What is left of
        // it otherwise is an empty file that the next run takes over.
        let _ = fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn remove_half_written(path: &Path) -> io::Result<()> {
    let prefix = temporary_prefix(path);
    for entry in fs::read_dir(folder_of(path))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&prefix) && name.ends_with(TEMPORARY_SUFFIX) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(save_steps: u64) -> TrainingConfig {
        TrainingConfig { save_steps, save_minutes: 0.0, ..TrainingConfig::default() }
    }

    #[test]
    fn one_run_at_a_time_and_none_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        let first = Saver::open(&path, &config(0)).unwrap();
        assert!(matches!(Saver::open(&path, &config(0)), Err(SaverError::Busy { .. })));
        first.finish().unwrap();
        drop(Saver::open(&path, &config(0)).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_run_left_half_written_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        let half = folder.path().join(".model.state-k3Vs.tmp");
        let other = folder.path().join(".other.state-k3Vs.tmp");
        fs::write(&half, b"half").unwrap();
        fs::write(&other, b"of another run").unwrap();
        drop(Saver::open(&path, &config(0)).unwrap());
        assert!(!half.exists() && other.exists());
    }

    #[test]
    fn states_are_due_by_steps() {
        let folder = tempfile::tempdir().unwrap();
        let saver = Saver::open(&folder.path().join("model"), &config(3)).unwrap();
        let due: Vec<u64> = (1..8).filter(|&step| saver.is_due(step)).collect();
        assert_eq!(due, [3, 6]);
    }
}
