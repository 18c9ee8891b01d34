//! Tests whose C++ is compiled for AddressSanitizer and UBSan.
//!
//! Rust's own code is as it always is, and libtorch's too: what is watched is the C++ of ours, and
//! every block of memory. AddressSanitizer must be the first library that a program loads.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::TestPrograms;
use crate::workspace::Workspace;

/// A finding ends the program. libtorch frees nothing of what it registers at its start.
const OPTIONS: [(&str, &str); 2] =
    [("ASAN_OPTIONS", "detect_leaks=0"), ("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")];

/// The compiler's libraries.
#[derive(Debug)]
pub(super) struct Sanitizers {
    asan: PathBuf,
}

/// Those of the compiler, or why there are none.
pub(super) fn find() -> Result<Sanitizers, String> {
    library("libubsan.so")?;
    Ok(Sanitizers { asan: library("libasan.so")? })
}

impl Sanitizers {
    /// Builds a package's test programs so, and gives the calls of them.
    ///
    /// Of other packages the libraries' tests come along, which are built like those that follow;
    /// their programs would lie where others look for usable ones, so that only tests of names that
    /// no such package has are asked for.
    pub(super) fn commands(&self, workspace: &Workspace, package: &str) -> Result<Vec<Command>> {
        let feature = format!("{package}/sanitize");
        let names = names_of_tests(workspace, package)?;
        let mut flags = vec!["--features", &feature, "--lib"];
        flags.extend(names.iter().flat_map(|name| ["--test", name.as_str()]));
        let programs = TestPrograms::build(workspace, &flags)?;
        let mut commands = programs.commands(workspace, package, None)?;
        for command in &mut commands {
            command.env("LD_PRELOAD", &self.asan).envs(OPTIONS);
        }
        Ok(commands)
    }
}

/// Names of a package's integration tests.
fn names_of_tests(workspace: &Workspace, package: &str) -> Result<Vec<String>> {
    let metadata = workspace.metadata()?;
    let package = metadata.members().find(|member| member.name == package);
    let package = package.context("the package is none of the workspace's")?;
    let tests = package.targets.iter().filter(|target| target.kind.iter().any(|it| it == "test"));
    Ok(tests.map(|target| target.name.clone()).collect())
}

/// A library of the C++ compiler's, where it has it.
fn library(name: &str) -> Result<PathBuf, String> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let output = Command::new(&compiler)
        .arg(format!("-print-file-name={name}"))
        .output()
        .map_err(|error| format!("{compiler} cannot be started: {error}"))?;
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    // A name that is not found comes back as it went.
    if path.is_absolute() && is_plain(&path) {
        Ok(path)
    } else {
        Err(format!("{compiler} has no {name}"))
    }
}

/// The loader splits its list at blanks and colons.
fn is_plain(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    path.exists() && !bytes.contains(&b' ') && !bytes.contains(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_no_compiler_has_is_a_reason() {
        let reason = library("libnone-of-this-name.so").unwrap_err();
        assert!(reason.contains("libnone-of-this-name.so") || reason.contains("cannot be started"));
    }
}
