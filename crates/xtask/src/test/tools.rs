//! Other people's gRPC clients for the end-to-end tests, in the git-ignored `.tools/venv`.
//!
//! ```text
//! .tools/venv/bin/NAME    every program of the packages, and python with the packages in reach
//! .tools/venv/packages/   the packages of tests/requirements.txt
//! ```
//!
//! It is laid out like a virtual environment but made with `pip install --target`, because a
//! Python without the venv module and one that its distribution manages both allow that.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::workspace::Workspace;

/// Installs what `tests/requirements.txt` pins, unless exactly that is there.
///
/// # Errors
/// When pip is missing or fails.
pub(super) fn install(workspace: &Workspace) -> Result<()> {
    let file = workspace.root().join("tests/requirements.txt");
    let pinned =
        fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let tools = workspace.root().join(".tools/venv");
    let stamp = tools.join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == pinned) {
        return Ok(());
    }
    eprintln!("installing test tools into {}", tools.display());
    let fresh = tools.with_file_name(format!("venv.new-{}", std::process::id()));
    let installed = fill(&fresh, &file);
    if installed.is_err() {
        let _ = fs::remove_dir_all(&fresh);
    }
    installed?;
    fs::write(fresh.join("requirements.txt"), pinned)?;
    if tools.exists() {
        fs::remove_dir_all(&tools)?;
    }
    fs::rename(&fresh, &tools).with_context(|| format!("{} cannot be made", tools.display()))
}

fn fill(fresh: &Path, requirements: &Path) -> Result<()> {
    let (packages, bin) = (fresh.join("packages"), fresh.join("bin"));
    fs::create_dir_all(&bin).with_context(|| format!("{} cannot be made", bin.display()))?;
    let status = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["--no-deps", "--use-pep517", "--target"])
        .args([&packages, Path::new("--requirement"), requirements])
        .env("PIP_ROOT_USER_ACTION", "ignore")
        .status()
        .context("python3 is not installed; tests over gRPC need it")?;
    ensure!(status.success(), "pip could not install tests/requirements.txt; the reason is above");
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
