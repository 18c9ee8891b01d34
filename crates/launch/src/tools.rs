//! Other people's programs that checks use, in the git-ignored `.tools`.
//!
//! ```text
//! .tools/NAME/bin/PROGRAM  every program of the packages, and python with the packages in reach
//! .tools/NAME/packages/    the packages of a requirements file
//! ```
//!
//! It is laid out like a virtual environment but made with `pip install --target`, because a
//! Python without the venv module and one that its distribution manages both allow that.

use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::pip;
use crate::workspace::Workspace;

/// A set of programs.
#[derive(Clone, Copy, Debug)]
pub struct Tools {
    /// Its folder in `.tools`.
    pub name: &'static str,
    /// What it is made of, relative to the workspace.
    pub requirements: &'static str,
    /// Whether the packages' own dependencies come along, or the file names every package.
    pub with_dependencies: bool,
}

impl Tools {
    /// Installs what the file pins, unless exactly that is there, and returns the folder.
    ///
    /// # Errors
    /// When pip is missing or fails; a [`pip::PipError`], which says whether the package index
    /// had no answer.
    pub fn install(self, workspace: &Workspace) -> Result<PathBuf> {
        let file = workspace.root().join(self.requirements);
        let pinned = fs::read_to_string(&file)
            .with_context(|| format!("{} cannot be read", file.display()))?;
        let tools = workspace.root().join(".tools").join(self.name);
        let stamp = tools.join("requirements.txt");
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == pinned) {
            return Ok(tools);
        }
        eprintln!("installing {} into {}", self.requirements, tools.display());
        let fresh = tools.with_file_name(format!("{}.new-{}", self.name, std::process::id()));
        let installed = self.fill(&fresh, &file);
        if installed.is_err() {
            let _ = fs::remove_dir_all(&fresh);
        }
        installed?;
        fs::write(fresh.join("requirements.txt"), pinned)?;
        if tools.exists() {
            fs::remove_dir_all(&tools)?;
        }
        fs::rename(&fresh, &tools)
            .with_context(|| format!("{} cannot be made", tools.display()))?;
        Ok(tools)
    }

    fn fill(self, fresh: &Path, requirements: &Path) -> Result<()> {
        let (packages, bin) = (fresh.join("packages"), fresh.join("bin"));
        fs::create_dir_all(&bin).with_context(|| format!("{} cannot be made", bin.display()))?;
        let alone: &[&str] = if self.with_dependencies { &[] } else { &["--no-deps"] };
        let mut install = pip::command("install");
        // Without a second try pip says of an index that is not there what it says of a wrong pin.
        install
            .args(["--quiet", "--retries", "2"])
            .args(alone)
            .args(["--use-pep517", "--target"])
            .args([&packages, Path::new("--requirement"), requirements]);
        pip::run(&mut install, requirements)?;
        program(&bin.join("python"), "python3")?;
        let programs = packages.join("bin");
        for entry in
            fs::read_dir(&programs).with_context(|| format!("{} is missing", programs.display()))?
        {
            let name = entry?.file_name().display().to_string();
            program(&bin.join(&name), &format!("$here/packages/bin/{name}"))?;
        }
        Ok(())
    }
}

/// A program that runs `target` with the packages in reach.
fn program(path: &Path, target: &str) -> Result<()> {
    let script = format!(
        "#!/bin/sh\nhere=$(CDPATH= cd -- \"$(dirname -- \"$0\")/..\" && pwd)\n\
         PYTHONPATH=$here/packages exec \"{target}\" \"$@\"\n"
    );
    fs::write(path, script)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn programs_have_the_packages_in_reach_wherever_the_folder_is() {
        let tools = tempfile::tempdir().unwrap();
        let bin = tools.path().join("with space/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir(bin.with_file_name("packages")).unwrap();
        fs::write(bin.with_file_name("packages").join("pinned.py"), "print('found')").unwrap();
        program(&bin.join("python"), "python3").unwrap();
        program(&bin.join("again"), "$here/bin/python").unwrap();
        let output =
            Command::new(bin.join("again")).args(["-c", "import pinned"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "found\n");
    }
}
