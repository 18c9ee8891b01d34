//! Files that a command writes: refused at the start where they cannot be, and never half there.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// A path that cannot be written, found before any work is done.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Something is there already.
    #[error("--out {path:?} exists; choose another path, or pass --overwrite")]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// Its folder is missing or not writable.
    #[error(
        "--out {path:?} cannot be written: {source}; a path in an existing, writable folder is needed"
    )]
    Folder {
        /// The path.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// Checks that `path` can be written later, and is not there yet unless `overwrite`.
///
/// # Errors
/// When it exists, or its folder does not take a file.
pub fn check(path: &Path, overwrite: bool) -> Result<(), OutputError> {
    let failed = |source| OutputError::Folder { path: path.to_owned(), source };
    if path.is_dir() {
        return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    if path.exists() && !overwrite {
        return Err(OutputError::Exists { path: path.to_owned() });
    }
    // A temporary file tries the folder for real: permission bits do not tell of a read-only mount.
    tempfile::NamedTempFile::new_in(folder_of(path)).map(drop).map_err(failed)
}

/// Writes a whole file or nothing.
///
/// # Errors
/// The system's, such as a full disk, with the path; the file that was there before then still is.
pub fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    persist(path, bytes).with_context(|| format!("writing {path:?}"))
}

fn persist(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder_of(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    let permissions = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
    file.as_file().set_permissions(permissions)?;
    file.persist(path)?;
    Ok(())
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_kept_unless_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        check(&path, false).unwrap();
        write(&path, b"one").unwrap();
        assert!(matches!(check(&path, false), Err(OutputError::Exists { .. })));
        check(&path, true).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_found_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let error = check(&folder.path().join("no/model"), false).unwrap_err().to_string();
        assert!(error.contains("an existing, writable folder is needed"), "{error}");
        assert!(check(folder.path(), true).is_err());
    }
}
