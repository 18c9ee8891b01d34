//! Tests whose C++ is compiled for AddressSanitizer and UBSan.
//!
//! Rust's own code is as it always is, and libtorch's too: what is watched is the C++ of ours, and
//! every block of memory. AddressSanitizer must be the first library that a program loads.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Call, TestPrograms};
use protoguard_launch::workspace::Workspace;

/// A finding ends the program. libtorch frees nothing of what it registers at its start.
const OPTIONS: [(&str, &str); 2] =
    [("ASAN_OPTIONS", "detect_leaks=0"), ("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")];

/// Bits of an address that the kernel may draw before AddressSanitizer of GCC 12 finds its own
/// places taken, in a quarter of the starts at 32.
const MOST_RANDOM_BITS: u32 = 28;

/// The compiler's libraries.
#[derive(Debug)]
pub(super) struct Sanitizers {
    asan: PathBuf,
    /// Whether the kernel can be kept from drawing a program's addresses.
    fixed_addresses: bool,
}

/// Those of the compiler, or why they are not used.
pub(super) fn find() -> Result<Sanitizers, String> {
    library("libubsan.so")?;
    let asan = library("libasan.so")?;
    let fixed_addresses =
        environment(true).arg("true").output().is_ok_and(|it| it.status.success());
    let bits = std::fs::read_to_string("/proc/sys/vm/mmap_rnd_bits").unwrap_or_default();
    let bits = bits.trim().parse().unwrap_or(0);
    if !fixed_addresses && bits > MOST_RANDOM_BITS {
        return Err(format!(
            "AddressSanitizer takes at most {MOST_RANDOM_BITS} random bits in an address: \
             vm.mmap_rnd_bits is {bits} and setarch -R may not turn that off"
        ));
    }
    Ok(Sanitizers { asan, fixed_addresses })
}

/// A call of `env`, whose program has the same addresses every time where those are fixed.
fn environment(fixed_addresses: bool) -> Command {
    if !fixed_addresses {
        return Command::new("env");
    }
    let mut command = Command::new("setarch");
    command.args(["-R", "env"]);
    command
}

impl Sanitizers {
    /// Builds the test programs of some packages so, and gives the calls of them. The first has the
    /// C++, and the feature.
    ///
    /// Of other packages the libraries' tests come along, which are built like those that follow;
    /// their programs would lie where others look for usable ones, so that only tests of names that
    /// no other package with libtorch has are asked for.
    pub(super) fn calls(&self, workspace: &Workspace, packages: &[&str]) -> Result<Vec<Call>> {
        let first = packages.first().context("no package is named")?;
        let feature = format!("{first}/sanitize");
        let names = names_of_tests(workspace, packages)?;
        let mut flags = vec!["--features", &feature, "--lib"];
        flags.extend(names.iter().flat_map(|name| ["--test", name.as_str()]));
        let programs = TestPrograms::build(workspace, &flags)?;
        let mut calls = Vec::new();
        for package in packages {
            calls.extend(programs.calls_of(workspace, package, None)?);
        }
        Ok(calls.into_iter().map(|call| self.sanitized(call)).collect())
    }

    /// The same call; AddressSanitizer is loaded once the addresses are fixed and not before.
    fn sanitized(&self, Call { name, command: plain }: Call) -> Call {
        let mut preload = OsString::from("LD_PRELOAD=");
        preload.push(&self.asan);
        let mut command = environment(self.fixed_addresses);
        command.arg(preload).arg(plain.get_program()).args(plain.get_args());
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.envs(OPTIONS);
        command.current_dir(plain.get_current_dir().unwrap_or(Path::new(".")));
        Call { name: format!("{name} (sanitized)"), command }
    }
}

/// Names of the packages' integration tests.
fn names_of_tests(workspace: &Workspace, packages: &[&str]) -> Result<Vec<String>> {
    let metadata = workspace.metadata()?;
    let mut names = Vec::new();
    for package in packages {
        let package = metadata.packages.iter().find(|it| it.name == *package);
        let package = package.context("the package is none of the workspace's")?;
        let tests = package.targets.iter().filter(|target| target.is_test());
        names.extend(tests.map(|target| target.name.clone()));
    }
    Ok(names)
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
