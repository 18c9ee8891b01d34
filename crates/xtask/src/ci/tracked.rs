//! What git tracks: known entries at the top, nothing large, nothing of one machine.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use protoguard_launch::workspace::Workspace;

const TOP_LEVEL: [&str; 23] = [
    ".cargo",
    ".ci",
    ".dockerignore",
    ".gitattributes",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "RESULTS.md",
    "benches",
    "clippy.toml",
    "crates",
    "deny.toml",
    "docker",
    "k8s",
    "proto",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "tests",
];

const MAX_BYTES: usize = 1_000_000;

/// Words that only a machine, its user or its mirrors have. In two halves each, so that this list
/// does not name them.
const LOCAL: [[&str; 2]; 9] = [
    ["/ro", "ot/"],
    ["/ho", "me/"],
    ["/wo", "rk/"],
    ["/Use", "rs/"],
    ["/opt/wh", "eels"],
    ["py", "pi.org"],
    ["pythonho", "sted.org"],
    ["registry.np", "mjs.org"],
    ["static.cra", "tes.io"],
];

/// What is wrong with the tracked files, one line each.
///
/// # Errors
/// When git cannot list them.
pub(super) fn complaints(workspace: &Workspace) -> Result<Vec<String>> {
    let listed = std::process::Command::new("git")
        .args(["ls-files", "-z", "--cached"])
        .current_dir(workspace.root())
        .output()
        .context("git cannot be started; the tree is checked in a clone")?;
    ensure!(listed.status.success(), "git ls-files failed; the tree is checked in a clone");
    let listed = String::from_utf8_lossy(&listed.stdout);
    let mut found = Vec::new();
    for file in listed.split('\0').filter(|file| !file.is_empty()) {
        // A file that was deleted but not committed has no contents to check.
        let contents = fs::read(workspace.root().join(file)).unwrap_or_default();
        found.extend(of_file(Path::new(file), &contents));
    }
    Ok(found)
}

fn of_file(file: &Path, contents: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let top = file.iter().next().unwrap_or_default().to_string_lossy();
    if !TOP_LEVEL.contains(&top.as_ref()) {
        found.push(format!("{top} does not belong at the top"));
    }
    if contents.len() > MAX_BYTES {
        let bytes = contents.len();
        found
            .push(format!("{} has {bytes} bytes; at most {MAX_BYTES} are tracked", file.display()));
    }
    let text = String::from_utf8_lossy(contents);
    for (number, line) in text.lines().enumerate() {
        if let Some(word) = local(line) {
            found.push(format!("{}:{} names {word}", file.display(), number + 1));
        }
    }
    found
}

fn local(line: &str) -> Option<String> {
    LOCAL.iter().map(|halves| halves.concat()).find(|word| line.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints_of(file: &str, contents: &[u8]) -> Vec<String> {
        of_file(Path::new(file), contents)
    }

    #[test]
    fn an_ordinary_file_passes() {
        assert!(complaints_of("crates/core/src/lib.rs", b"//! Reads /dev/null.\n").is_empty());
        assert!(complaints_of("tests/Cargo.toml", b"").is_empty());
    }

    #[test]
    fn strangers_at_the_top_are_found() {
        assert_eq!(complaints_of("notes.txt", b""), ["notes.txt does not belong at the top"]);
    }

    #[test]
    fn large_files_are_found() {
        let found = complaints_of("tests/golden/big.npy", &vec![0; MAX_BYTES + 1]);
        assert_eq!(found, ["tests/golden/big.npy has 1000001 bytes; at most 1000000 are tracked"]);
    }

    #[test]
    fn a_machines_own_paths_are_found() {
        let line = format!("first\nread {}me/me/data\n", "/ho");
        let found = complaints_of("README.md", line.as_bytes());
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("README.md:2 names /ho"), "{found:?}");
    }

    #[test]
    fn this_workspace_holds() {
        let workspace = Workspace::locate().unwrap();
        if !workspace.root().join(".git").exists() {
            println!("skipped: this is no clone, so nothing is tracked");
            return;
        }
        let found = complaints(&workspace).unwrap();
        assert_eq!(found, Vec::<String>::new());
    }
}
