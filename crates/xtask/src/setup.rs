//! `cargo xtask setup`: libtorch's CPU library in `.libtorch`, ready for torch-sys.
//!
//! tch binds one version of libtorch. The package index that pip uses carries it as a wheel, whose
//! hash is pinned here. The wheel is built for GPUs, but its CPU library stands alone: linking that
//! alone gives one set of programs for machines with and without a GPU, and a folder of 0.5 GB
//! instead of 5. GPU libraries are opened at run time.
//!
//! ```text
//! index -> wheels (downloads/) -> view in the user's cache -> hard links in .libtorch
//! ```
//!
//! pip downloads, because it knows the addresses, certificates and proxies of this machine. The
//! folder appears by one rename, so it is whole or absent; a lock in the cache lets several set-ups
//! run at once.

mod cache;
#[cfg(test)]
mod index;
mod view;
mod wheels;

use std::path::Path;

use anyhow::{Result, bail, ensure};

use protoguard_launch::workspace::Workspace;

/// The version that tch 0.24 binds.
const VERSION: &str = "2.11.0";

/// Lays libtorch out in `dest`, or in the workspace's `.libtorch`.
///
/// # Errors
/// When the machine is not one that the wheels are built for, pip or the network is missing, a
/// download does not match its hash, or the disk is full.
pub(crate) fn run(workspace: &Workspace, dest: Option<&Path>) -> Result<()> {
    let dest = dest.map_or_else(|| workspace.libtorch(), Path::to_owned);
    if view::is_complete(&dest) {
        eprintln!("libtorch {VERSION} is in {}", dest.display());
        return Ok(());
    }
    check_platform(&Platform::here())?;
    view::check_replaceable(&dest)?;
    let cache = cache::Cache::open()?;
    // Another set-up may have done the work while this one waited for the lock.
    if !view::is_complete(&dest) {
        let view = cache.view(&wheels::Wheels::pinned(workspace))?;
        view::place(&view, &dest)?;
    }
    eprintln!("libtorch {VERSION} is now in {}", dest.display());
    Ok(())
}

struct Platform<'a> {
    os: &'a str,
    arch: &'a str,
    libc: &'a str,
}

impl Platform<'static> {
    fn here() -> Self {
        let libc = if cfg!(target_env = "gnu") { "gnu" } else { "other" };
        Self { os: std::env::consts::OS, arch: std::env::consts::ARCH, libc }
    }
}

fn check_platform(platform: &Platform<'_>) -> Result<()> {
    let Platform { os, arch, libc } = platform;
    ensure!(
        (*os, *arch) == ("linux", "x86_64"),
        "this machine is {os} on {arch}; libtorch {VERSION} is set up for linux on x86_64 \
         (elsewhere, build in a container of that kind)"
    );
    if *libc != "gnu" {
        bail!(
            "this toolchain does not target glibc; libtorch {VERSION} needs x86_64-unknown-linux-gnu"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_machines_are_told_what_is_accepted() {
        let mac = Platform { os: "macos", arch: "aarch64", libc: "other" };
        let message = check_platform(&mac).unwrap_err().to_string();
        assert!(message.starts_with("this machine is macos on aarch64"), "{message}");
        assert!(message.contains("linux on x86_64"), "{message}");
        let musl = Platform { os: "linux", arch: "x86_64", libc: "other" };
        assert!(check_platform(&musl).unwrap_err().to_string().contains("glibc"));
        assert!(check_platform(&Platform { os: "linux", arch: "x86_64", libc: "gnu" }).is_ok());
    }
}
