//! `cargo xtask test`: set-up, every test, and one line with the sum.

mod totals;

use std::io::{BufRead, BufReader, Write};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use totals::Totals;

use crate::setup;
use crate::tools::Tools;
use crate::workspace::Workspace;

/// Other people's gRPC clients for the end-to-end tests.
const CLIENTS: Tools =
    Tools { name: "venv", requirements: "tests/requirements.txt", with_dependencies: false };

/// Runs all tests, or those of the crates that build without libtorch.
///
/// The last line on standard output is the sum over all test programs. The exit code is a failure
/// when one test failed, or a crate did not build.
///
/// # Errors
/// When the set-up fails or cargo cannot be started.
pub(crate) fn run(workspace: &Workspace, light: bool) -> Result<ExitCode> {
    let mut arguments = vec!["test".to_owned(), "--no-fail-fast".to_owned()];
    if light {
        for name in workspace.light_crates()? {
            arguments.extend(["--package".to_owned(), name]);
        }
    } else {
        setup::run(workspace, None)?;
        CLIENTS.install(workspace)?;
        // Tests over real sockets start the real programs.
        let status = workspace.cargo(&["build", "--workspace", "--bins"]).status()?;
        ensure!(status.success(), "the programs do not build");
        arguments.push("--workspace".to_owned());
    }
    arguments.extend(["--".to_owned(), "--show-output".to_owned()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    count(workspace, &arguments)
}

/// Passes cargo's output on as it comes, and ends with the sum.
fn count(workspace: &Workspace, arguments: &[&str]) -> Result<ExitCode> {
    let mut cargo = workspace.cargo(arguments);
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("cargo cannot be started")?;
    let output = child.stdout.take().context("cargo has no output")?;
    let mut totals = Totals::default();
    let mut stdout = std::io::stdout().lock();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cargo's output cannot be read")?;
        let line = String::from_utf8_lossy(&line);
        if totals.read(&line) {
            writeln!(stdout, "{line}")?;
        }
    }
    let status = child.wait()?;
    if !status.success() && totals.failed == 0 {
        eprintln!(
            "error: cargo test ended with {status}; a crate did not build or a test was killed"
        );
    }
    writeln!(stdout, "{totals}")?;
    Ok(if status.success() && totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
