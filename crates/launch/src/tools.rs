//! Other people's programs that checks use, in the git-ignored `.tools`.
//!
//! ```text
//! .tools/NAME/bin/PROGRAM  every program of the packages, and python with the packages in reach
//! .tools/NAME/packages/    the packages of a requirements file
//! ```
//!
//! It is laid out like a virtual environment but made with `pip install --target`, because a
//! Python without the venv module and one that its distribution manages both allow that.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

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
    /// When pip is missing or fails; [`Unreachable`] where it had no answer from the package index.
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
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(alone)
            .args(["--use-pep517", "--target"])
            .args([&packages, Path::new("--requirement"), requirements])
            .env("PIP_ROOT_USER_ACTION", "ignore");
        run_pip(&mut pip, requirements)?;
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

/// The package index did not answer: no fault of the file that names the packages.
#[derive(Debug)]
pub struct Unreachable {
    requirements: PathBuf,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requirements = self.requirements.display();
        write!(f, "the package index cannot be reached for {requirements}; pip's words are above")
    }
}

impl std::error::Error for Unreachable {}

/// What pip says of each connection that it did not get and tries again.
const NO_CONNECTION: &str = "after connection broken by";

/// Runs pip, and passes on what it says.
fn run_pip(pip: &mut Command, requirements: &Path) -> Result<()> {
    // Without a second try it says of an index that is not there what it says of a wrong pin.
    let output = pip
        .args(["--retries", "2"])
        .stdout(Stdio::inherit())
        .output()
        .context("python3 is not installed; these checks need it")?;
    let said = String::from_utf8_lossy(&output.stderr);
    eprint!("{said}");
    if output.status.success() {
        return Ok(());
    }
    if said.contains(NO_CONNECTION) {
        return Err(Unreachable { requirements: requirements.to_owned() }.into());
    }
    bail!("pip could not install {}; the reason is above", requirements.display())
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

    /// pip's own answer to a requirement, with an index that is not there or a folder in its place.
    fn installed(requirement: &str, flags: &[&str]) -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("requirements.txt");
        fs::write(&file, requirement).unwrap();
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(flags).arg("--target").arg(folder.path().join("packages"));
        pip.arg("--requirement").arg(&file).env("PIP_ROOT_USER_ACTION", "ignore");
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
            pip.env_remove(name);
        }
        run_pip(&mut pip, &file)
    }

    #[test]
    fn an_index_that_does_not_answer_is_told_from_a_pin_that_is_wrong() {
        // Nobody listens on the port of `discard`.
        let nowhere = ["--index-url", "http://127.0.0.1:9/simple"];
        let error = installed("pinned==1.0", &nowhere).unwrap_err();
        assert!(error.is::<Unreachable>(), "{error:#}");
        let here = tempfile::tempdir().unwrap();
        let wheel = here.path().join("pinned-1.0-py3-none-any.whl");
        fs::write(&wheel, "not what was pinned").unwrap();
        let links = here.path().display().to_string();
        let offline = ["--no-index", "--find-links", &links];
        let digest = "0".repeat(64);
        for requirement in [format!("pinned==1.0 --hash=sha256:{digest}"), "pinned==2.0".to_owned()]
        {
            let error = installed(&requirement, &offline).unwrap_err();
            assert!(!error.is::<Unreachable>(), "{requirement}: {error:#}");
        }
    }
}
