//! What the numbers were measured on, without which they mean nothing.

use std::fs;
use std::num::NonZeroUsize;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use protoguard_launch::workspace::Workspace;

/// The machine and the versions.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) memory_gib: u64,
    pub(super) kernel: String,
    pub(super) rustc: String,
    pub(super) libtorch: String,
    pub(super) commit: String,
}

impl Machine {
    /// This one.
    pub(super) fn describe(workspace: &Workspace) -> Self {
        let first = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let libtorch = fs::read_to_string(workspace.libtorch().join("build-version"));
        Self {
            cpu: field(&first("/proc/cpuinfo"), "model name").unwrap_or("unknown").to_owned(),
            cores: available_parallelism().map_or(1, NonZeroUsize::get),
            memory_gib: memory_gib(&first("/proc/meminfo")),
            kernel: first("/proc/sys/kernel/osrelease").trim().to_owned(),
            rustc: said("rustc", &["--version"], workspace),
            libtorch: libtorch.unwrap_or_default().trim().to_owned(),
            commit: said("git", &["describe", "--always", "--dirty", "--abbrev=12"], workspace),
        }
    }

    /// One line.
    pub(super) fn line(&self) -> String {
        format!(
            "{}, {} cores, {} GiB, Linux {}; {}, libtorch {}, commit {}",
            self.cpu,
            self.cores,
            self.memory_gib,
            self.kernel,
            self.rustc,
            self.libtorch,
            self.commit
        )
    }
}

/// Today in UTC, as 2026-01-31.
///
/// # Errors
/// When the system's own program does not say.
pub(super) fn today() -> Result<String> {
    let output = Command::new("date").args(["-u", "+%F"]).output().context("date: no such day")?;
    ensure!(output.status.success(), "date failed");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn said(program: &str, arguments: &[&str], workspace: &Workspace) -> String {
    let output = Command::new(program).args(arguments).current_dir(workspace.root()).output();
    let stdout = output.map(|output| output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&stdout).trim().to_owned();
    if said.is_empty() { "unknown".to_owned() } else { said }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

fn memory_gib(text: &str) -> u64 {
    let kib = field(text, "MemTotal").and_then(|value| value.split(' ').next()?.parse().ok());
    kib.unwrap_or(0_u64).div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_read() {
        let cpu = "processor\t: 0\nmodel name\t: A Processor @ 2 GHz\nflags\t\t: fpu\n";
        assert_eq!(field(cpu, "model name"), Some("A Processor @ 2 GHz"));
        assert_eq!(memory_gib("MemTotal:       24117248 kB\nMemFree: 1 kB\n"), 23);
        assert_eq!(today().unwrap().len(), 10);
    }
}
