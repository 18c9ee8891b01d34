//! The folder of headers and libraries that torch-sys is pointed at.
//!
//! ```text
//! build-version        2.11.0
//! include/             headers
//! lib/libtorch.so      INPUT(-ltorch_cpu): torch-sys links "torch", the linker takes the CPU library
//! lib/libtorch_cpu.so  and what it needs
//! ```

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::VERSION;

const LINKER_SCRIPT: &str = "INPUT(-ltorch_cpu)\n";
const FILES: [&str; 7] = [
    "include/torch/csrc/api/include/torch/torch.h",
    "lib/libtorch.so",
    "lib/libtorch_cpu.so",
    "lib/libc10.so",
    "lib/libgomp.so.1",
    "lib/libcudart.so.13",
    "lib/libcupti.so.13",
];

/// Whether everything that linking needs is in `folder`. It appears by a rename, so a look at each
/// library is enough.
pub(super) fn is_complete(folder: &Path) -> bool {
    let version = fs::read_to_string(folder.join("build-version")).unwrap_or_default();
    let present = |file: &str| fs::metadata(folder.join(file)).is_ok_and(|file| file.len() > 0);
    version.trim() == VERSION && FILES.iter().all(|file| present(file))
}

/// Adds what no wheel carries: the linker script and the version.
///
/// # Errors
/// When a file cannot be written, or a library is missing.
pub(super) fn finish(folder: &Path) -> Result<()> {
    write(&folder.join("lib/libtorch.so"), LINKER_SCRIPT)?;
    write(&folder.join("build-version"), &format!("{VERSION}\n"))?;
    ensure!(is_complete(folder), "the wheels did not carry all of {}", FILES.join(", "));
    Ok(())
}

/// Refuses to replace a folder that is not libtorch's.
///
/// # Errors
/// When something else lies at `dest`.
pub(super) fn check_replaceable(dest: &Path) -> Result<()> {
    let mut entries = match fs::read_dir(dest) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => bail!("{} cannot be used for libtorch: {error}", dest.display()),
    };
    let ours = dest.join("build-version").exists() || dest.join("lib/libtorch.so").exists();
    ensure!(
        ours || entries.next().is_none(),
        "{} is not empty and not a libtorch folder; remove it or name another with --dest",
        dest.display()
    );
    Ok(())
}

/// Puts a copy of `view` at `dest`, of hard links where the file system allows it.
///
/// # Errors
/// When the disk is full or `dest` cannot be written; nothing half-made is left.
pub(super) fn place(view: &Path, dest: &Path) -> Result<()> {
    let parent = dest.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| format!("{} cannot be made", parent.display()))?;
    let fresh = sibling(dest)?;
    remove(&fresh)?;
    if let Err(error) = Copier::new(view, &fresh).copy(Path::new("")) {
        let _ = remove(&fresh);
        return Err(describe(&error, dest));
    }
    remove(dest)?;
    match fs::rename(&fresh, dest) {
        // A set-up with another cache was faster.
        Err(_) if is_complete(dest) => remove(&fresh),
        outcome => outcome.with_context(|| format!("{} cannot be made", dest.display())),
    }
}

/// Removes a folder that may not exist.
///
/// # Errors
/// When it exists and cannot be removed.
pub(super) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", folder.display()))
        }
        _ => Ok(()),
    }
}

fn sibling(dest: &Path) -> Result<PathBuf> {
    let name = dest.file_name().with_context(|| format!("{} names no folder", dest.display()))?;
    let name = format!("{}.new-{}", name.display(), std::process::id());
    Ok(dest.with_file_name(name))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| describe(&error, path))
}

fn describe(error: &io::Error, place: &Path) -> anyhow::Error {
    let place = place.display();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            anyhow::anyhow!("no space left for libtorch at {place}; about 520 MB are needed")
        }
        _ => anyhow::anyhow!("libtorch cannot be written to {place}: {error}"),
    }
}

/// Copies a tree, and stops linking at the first refusal.
struct Copier<'a> {
    from: &'a Path,
    to: &'a Path,
    link: bool,
}

impl<'a> Copier<'a> {
    fn new(from: &'a Path, to: &'a Path) -> Self {
        Self { from, to, link: true }
    }

    fn copy(&mut self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(self.to.join(folder))?;
        for entry in fs::read_dir(self.from.join(folder))? {
            let entry = entry?;
            let below = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.copy(&below)?;
            } else {
                self.file(&below)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, file: &Path) -> io::Result<()> {
        let (from, to) = (self.from.join(file), self.to.join(file));
        if self.link {
            // Another file system, or one without links.
            self.link = fs::hard_link(&from, &to).is_ok();
        }
        if !self.link {
            fs::copy(&from, &to)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn view(folder: &Path) {
        for file in FILES {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        finish(folder).unwrap();
    }

    #[test]
    fn a_placed_view_is_complete_and_linked() {
        let home = tempfile::tempdir().unwrap();
        let (cached, dest) = (home.path().join("cached"), home.path().join("deep/.libtorch"));
        view(&cached);
        place(&cached, &dest).unwrap();
        assert!(is_complete(&dest));
        let inode = |folder: &Path| fs::metadata(folder.join("lib/libc10.so")).unwrap().ino();
        assert_eq!(inode(&cached), inode(&dest));
        let beside = fs::read_dir(dest.parent().unwrap()).unwrap().count();
        assert_eq!(beside, 1, "nothing else is left beside it");
    }

    #[test]
    fn an_incomplete_folder_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let (cached, dest) = (home.path().join("cached"), home.path().join("dest"));
        view(&cached);
        view(&dest);
        fs::write(dest.join("lib/libtorch_cpu.so"), "").unwrap();
        assert!(!is_complete(&dest));
        check_replaceable(&dest).unwrap();
        place(&cached, &dest).unwrap();
        assert!(is_complete(&dest));
    }

    #[test]
    fn somebody_elses_folder_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("thesis.tex"), "x").unwrap();
        let message = check_replaceable(home.path()).unwrap_err().to_string();
        assert!(message.contains("not a libtorch folder"), "{message}");
        assert!(check_replaceable(&home.path().join("absent")).is_ok());
        let message = check_replaceable(&home.path().join("thesis.tex")).unwrap_err().to_string();
        assert!(message.contains("cannot be used for libtorch"), "{message}");
    }

    #[test]
    fn a_full_disk_is_said_in_a_line() {
        let error = io::Error::from(ErrorKind::StorageFull);
        let message = describe(&error, Path::new("/x")).to_string();
        assert_eq!(message, "no space left for libtorch at /x; about 520 MB are needed");
    }

    #[test]
    fn a_view_without_a_library_is_refused() {
        let home = tempfile::tempdir().unwrap();
        view(home.path());
        fs::remove_file(home.path().join("lib/libcupti.so.13")).unwrap();
        assert!(finish(home.path()).is_err());
    }
}
