//! Tests whose C++ is compiled for AddressSanitizer and UBSan.
//!
//! Rust's own code is as it always is, and libtorch's too: what is watched is the C++ of ours, and
//! every block of memory. AddressSanitizer must be the first library that a program loads, and only
//! the test programs should have it, so cargo starts them through `env`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::Workspace;

/// A finding ends the program. libtorch frees nothing of what it registers at its start.
const OPTIONS: [&str; 2] =
    ["ASAN_OPTIONS=detect_leaks=0", "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1"];

/// The call of cargo that tests a package so, or why there is none.
pub(super) fn command(workspace: &Workspace, package: &str) -> Result<Command, String> {
    let asan = library("libasan.so")?;
    library("libubsan.so")?;
    let mut cargo = workspace.cargo(&["test", "--package", package, "--features", "sanitize"]);
    let runner = format!("env LD_PRELOAD={} {}", asan.display(), OPTIONS.join(" "));
    cargo.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", runner);
    Ok(cargo)
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

/// Cargo splits a runner at blanks.
fn is_plain(path: &Path) -> bool {
    path.exists() && !path.as_os_str().as_encoded_bytes().contains(&b' ')
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
