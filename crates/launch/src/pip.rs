//! Calls of pip, which knows the package index, certificates and proxy of this machine.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::process::Children;
use crate::programs::standard_error;

/// What stopped pip; its own words are on standard error.
#[derive(Debug, thiserror::Error)]
pub enum PipError {
    /// There is no Python.
    #[error("python3 is not installed; packages are fetched with its pip (any Python from 3.8 on)")]
    NoPython,
    /// There is Python without pip.
    #[error(
        "python3 has no pip, which knows this machine's package index; install it (python3-pip)"
    )]
    NoPip,
    /// The package index did not answer: no fault of the file that names the packages.
    #[error(
        "the package index cannot be reached for {}; check the network, or pip's index-url, proxy \
         and cert (pip's words are above)",
        requirements.display()
    )]
    Unreachable {
        /// The file.
        requirements: PathBuf,
    },
    /// The package index offers another file under a pinned name and version.
    #[error(
        "a package is not the one whose sha256 {} pins, and was not kept (pip's words are above); run \
         this again, and if that says the same, trust neither the package index nor what is between",
        requirements.display()
    )]
    WrongHash {
        /// The file.
        requirements: PathBuf,
    },
    /// The disk, or the user's share of it, is full.
    #[error("no space left for what {} names (pip's words are above)", requirements.display())]
    NoSpace {
        /// The file.
        requirements: PathBuf,
    },
    /// Anything else, such as a version that the index does not have.
    #[error("pip could not fetch what {} names; the reason is above", requirements.display())]
    Failed {
        /// The file.
        requirements: PathBuf,
    },
}

/// What pip says of a wrong file.
const WRONG_HASH: &str = "DO NOT MATCH THE HASHES";
/// What the operating system says of a full disk.
const NO_SPACE: [&str; 2] = ["No space left on device", "Disk quota exceeded"];
/// What pip's versions say of each connection that they did not get or keep.
const NO_CONNECTION: [&str; 5] = [
    "after connection broken by",
    "Connection broken",
    "Read timed out",
    "not enough bytes were received",
    "IncompleteRead",
];

/// A call of one of pip's commands.
pub fn command(name: &str) -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", name, "--disable-pip-version-check"]);
    // What is fetched goes into folders of the project, never among this Python's own packages.
    pip.env("PIP_ROOT_USER_ACTION", "ignore").env("PIP_REQUIRE_VIRTUALENV", "0");
    pip.stdin(Stdio::null());
    pip
}

/// Makes a call ask one package index, and that twice at the most, whatever this machine's settings
/// of pip and proxies say.
pub fn ask_only(pip: &mut Command, index: &str) {
    pip.args(["--isolated", "--retries", "1", "--index-url", index]);
    pip.env("PIP_CONFIG_FILE", "/dev/null");
    for scheme in ["http", "https", "all"] {
        let proxy = format!("{scheme}_proxy");
        pip.env_remove(proxy.to_uppercase()).env_remove(proxy);
    }
}

/// Runs pip on a file of requirements, and passes on what it says to standard error. `requirements`
/// is the file to name in errors.
///
/// # Errors
/// A [`PipError`], or another where this command was told to stop; pip is then ended first.
pub fn run(pip: &mut Command, requirements: &Path) -> Result<()> {
    let mut said = String::new();
    let outcome = Children::watch()?.listen(pip.stdout(standard_error()?), |line| {
        eprintln!("{line}");
        said.extend([line, "\n"]);
    });
    match outcome {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(explain(&said, requirements).into()),
        Err(error) if is_absent(&error) => Err(PipError::NoPython.into()),
        Err(error) => Err(error),
    }
}

fn is_absent(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

/// The error that pip's words tell of.
fn explain(said: &str, requirements: &Path) -> PipError {
    let requirements = requirements.to_owned();
    let says = |words: &[&str]| words.iter().any(|words| said.contains(words));
    if says(&["No module named pip"]) {
        PipError::NoPip
    } else if says(&[WRONG_HASH]) {
        PipError::WrongHash { requirements }
    } else if says(&NO_SPACE) {
        PipError::NoSpace { requirements }
    } else if says(&NO_CONNECTION) {
        PipError::Unreachable { requirements }
    } else {
        PipError::Failed { requirements }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// pip's own answer to a requirement, with one index alone.
    fn installed(requirement: &str, index: &str, flags: &[&str]) -> PipError {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("requirements.txt");
        fs::write(&file, requirement).unwrap();
        let mut pip = command("install");
        ask_only(&mut pip, index);
        pip.args(["--quiet", "--no-deps"]).args(flags).arg("--target");
        pip.arg(folder.path().join("packages")).arg("--requirement").arg(&file);
        run(&mut pip, &file).unwrap_err().downcast().unwrap()
    }

    #[test]
    fn an_index_that_does_not_answer_is_told_from_a_pin_that_is_wrong() {
        // Nobody listens on the port of `discard`.
        let nowhere = "http://127.0.0.1:9/simple";
        let error = installed("pinned==1.0", nowhere, &[]);
        assert!(matches!(error, PipError::Unreachable { .. }), "{error}");
        let here = tempfile::tempdir().unwrap();
        let wheel = here.path().join("pinned-1.0-py3-none-any.whl");
        fs::write(&wheel, "not what was pinned").unwrap();
        let links = here.path().display().to_string();
        let offline = ["--no-index", "--find-links", &links];
        let digest = "0".repeat(64);
        let wrong = format!("pinned==1.0 --hash=sha256:{digest}");
        let error = installed(&wrong, nowhere, &offline);
        assert!(matches!(error, PipError::WrongHash { .. }), "{error}");
        let error = installed("pinned==2.0", nowhere, &offline);
        assert!(matches!(error, PipError::Failed { .. }), "{error}");
    }

    #[test]
    fn a_machine_without_python_or_pip_is_told_what_to_install() {
        let mut nowhere = command("download");
        nowhere.env("PATH", "");
        let error = run(&mut nowhere, Path::new("r")).unwrap_err().to_string();
        assert!(error.starts_with("python3 is not installed"), "{error}");
        // Without the site's packages Python has no pip.
        let mut bare = Command::new("python3");
        let error = run(bare.args(["-I", "-S", "-m", "pip"]), Path::new("r")).unwrap_err();
        assert!(error.to_string().starts_with("python3 has no pip"), "{error}");
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_connection() {
        let said = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device";
        let error = explain(said, Path::new("r.txt")).to_string();
        assert_eq!(error, "no space left for what r.txt names (pip's words are above)");
        let said =
            "urllib3.exceptions.ProtocolError: ('Connection broken: IncompleteRead(5 bytes read)')";
        assert!(matches!(explain(said, Path::new("r.txt")), PipError::Unreachable { .. }));
    }
}
