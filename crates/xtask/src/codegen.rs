//! `cargo xtask codegen`: the wire types again, from `proto/`.
//!
//! The generator is a test of the proto crate, because that test also proves on every run that
//! the checked-in code is what the protos generate; here it writes in place of comparing.

use anyhow::{Result, ensure};

use protoguard_launch::process::status;
use protoguard_launch::workspace::Workspace;

/// # Errors
/// When the protos do not compile or the files cannot be written.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let test = ["test", "--quiet", "--package", "protoguard-proto", "--test", "generated"];
    let mut cargo = workspace.cargo(&test);
    cargo.arg("checked_in_code_is_what_the_protos_generate").env("PROTOGUARD_CODEGEN", "write");
    ensure!(
        status(&mut cargo)?.success(),
        "the wire types could not be generated; the reason is above"
    );
    eprintln!("crates/proto/src/generated is up to date");
    Ok(())
}
