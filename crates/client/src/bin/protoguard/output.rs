//! Files that appear complete or not at all.

use std::fs;
use std::io::{self, BufWriter, Stdout, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::NamedTempFile;

/// Where results go: standard output, or a file that takes its name when it is complete. Dropped
/// before, the file leaves nothing behind.
pub(crate) enum Output {
    Standard(Stdout),
    File { partial: BufWriter<NamedTempFile>, path: PathBuf },
}

impl Output {
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Standard(io::stdout())) };
        Ok(Self::File { partial: BufWriter::new(partial(path)?), path: path.to_owned() })
    }

    /// Gives the file its name.
    pub(crate) fn complete(self) -> anyhow::Result<()> {
        match self {
            Self::Standard(mut stdout) => Ok(stdout.flush()?),
            Self::File { partial, path } => {
                let partial = partial.into_inner().map_err(io::IntoInnerError::into_error);
                persist(partial.with_context(|| cannot_write(&path))?, &path)
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(stdout) => stdout.write(bytes),
            Self::File { partial, .. } => partial.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(stdout) => stdout.flush(),
            Self::File { partial, .. } => partial.flush(),
        }
    }
}

/// Writes a whole file.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut partial = partial(path)?;
    partial.write_all(bytes).with_context(|| cannot_write(path))?;
    persist(partial, path)
}

/// A file beside `path`, so that renaming never crosses a file system.
fn partial(path: &Path) -> anyhow::Result<NamedTempFile> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    tempfile::Builder::new()
        .prefix(".protoguard-")
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .with_context(|| cannot_write(path))
}

fn persist(partial: NamedTempFile, path: &Path) -> anyhow::Result<()> {
    partial.as_file().sync_all().with_context(|| cannot_write(path))?;
    partial.persist(path).map_err(|error| error.error).with_context(|| cannot_write(path))?;
    Ok(())
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_appears_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.jsonl");
        let mut output = Output::open(Some(&path)).unwrap();
        writeln!(output, "one").unwrap();
        assert!(!path.exists());
        output.complete().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
        assert_eq!(names(folder.path()), ["scores.jsonl"]);
    }

    #[test]
    fn a_file_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut output = Output::open(Some(&folder.path().join("scores.jsonl"))).unwrap();
        writeln!(output, "one").unwrap();
        drop(output);
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent/scores.jsonl");
        let error = Output::open(Some(&path)).map(drop).unwrap_err();
        assert!(format!("{error:#}").contains("absent/scores.jsonl"), "{error:#}");
    }
}
