//! `cargo xtask test`: set-up, every test, and one line with the sum.

mod sanitizers;
mod totals;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use totals::Totals;

use crate::setup;
use crate::tools::Tools;
use crate::workspace::Workspace;

/// Other people's gRPC clients for the end-to-end tests.
const CLIENTS: Tools =
    Tools { name: "venv", requirements: "tests/requirements.txt", with_dependencies: false };

/// The crate whose arithmetic takes other ways on other processors.
const NUMERIC: &str = "protoguard-model";

/// What makes a wide processor one with AVX2 and neither AVX-512 nor VNNI: for our own code, for
/// libtorch's and for oneDNN's in it.
const NARROW: [(&str, &str); 3] = [
    ("PROTOGUARD_MAX_CPU_ISA", "avx2"),
    ("ATEN_CPU_CAPABILITY", "avx2"),
    ("ONEDNN_MAX_CPU_ISA", "AVX2"),
];

/// Flags of `test`.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(multiple = false)]
pub(crate) struct TestArgs {
    /// Only the crates that build without libtorch
    #[arg(long)]
    light: bool,
    /// All crates, as a processor with AVX2 and nothing wider computes
    #[arg(long)]
    narrow: bool,
    /// Only the model's, its C++ under AddressSanitizer and UBSan where the compiler has them
    #[arg(long)]
    sanitized: bool,
}

/// Which tests, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All, and the model's again as a narrow processor computes.
    Usual,
    /// The same, and the model's C++ under sanitizers.
    Everything,
    Light,
    Narrow,
    Sanitized,
}

impl TestArgs {
    pub(crate) fn selection(self) -> Selection {
        match self {
            Self { light: true, .. } => Selection::Light,
            Self { narrow: true, .. } => Selection::Narrow,
            Self { sanitized: true, .. } => Selection::Sanitized,
            _ => Selection::Usual,
        }
    }
}

/// Runs tests.
///
/// The last line on standard output is the sum over all test programs. The exit code is a failure
/// when one test failed, or a crate did not build.
///
/// # Errors
/// When the set-up fails or cargo cannot be started.
pub(crate) fn run(workspace: &Workspace, selection: Selection) -> Result<ExitCode> {
    let mut sum = Sum::default();
    if selection == Selection::Light {
        let names = workspace.light_crates()?;
        let packages = names.iter().flat_map(|name| ["--package", name.as_str()]);
        sum.add(workspace.cargo(&["test"]).args(packages))?;
        return sum.end();
    }
    setup::run(workspace, None)?;
    if matches!(selection, Selection::Sanitized | Selection::Everything) {
        match sanitizers::command(workspace, NUMERIC) {
            Ok(mut sanitized) => {
                eprintln!("\n== {NUMERIC} under AddressSanitizer and UBSan");
                sum.add(&mut sanitized)?;
            }
            Err(reason) => eprintln!("\nskipped: the sanitizers' run; {reason}"),
        }
    }
    if selection != Selection::Sanitized {
        add_all(workspace, selection, &mut sum)?;
    }
    sum.end()
}

fn add_all(workspace: &Workspace, selection: Selection, sum: &mut Sum) -> Result<()> {
    CLIENTS.install(workspace)?;
    // Tests over real sockets start the real programs.
    let status = workspace.cargo(&["build", "--workspace", "--bins"]).status()?;
    ensure!(status.success(), "the programs do not build");
    if selection == Selection::Narrow {
        return sum.add(workspace.cargo(&["test", "--workspace"]).envs(NARROW));
    }
    sum.add(&mut workspace.cargo(&["test", "--workspace"]))?;
    if !is_wide() {
        eprintln!("\n== this processor has no AVX-512: the narrow ways were the ones taken");
        return Ok(());
    }
    eprintln!("\n== {NUMERIC} again, as a processor with AVX2 and nothing wider computes");
    sum.add(workspace.cargo(&["test", "--package", NUMERIC]).envs(NARROW))
}

fn is_wide() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// The sum over calls of `cargo test`.
#[derive(Debug, Default)]
struct Sum {
    totals: Totals,
    failed: bool,
}

impl Sum {
    /// Runs all of a call's test programs, and passes cargo's output on as it comes.
    fn add(&mut self, cargo: &mut Command) -> Result<()> {
        let cargo = cargo.args(["--no-fail-fast", "--", "--show-output"]).stdout(Stdio::piped());
        let mut child = cargo.spawn().context("cargo cannot be started")?;
        let output = child.stdout.take().context("cargo has no output")?;
        let failed_before = self.totals.failed;
        let mut stdout = std::io::stdout().lock();
        for line in BufReader::new(output).split(b'\n') {
            let line = line.context("cargo's output cannot be read")?;
            let line = String::from_utf8_lossy(&line);
            if self.totals.read(&line) {
                writeln!(stdout, "{line}")?;
            }
        }
        let status = child.wait()?;
        if !status.success() && self.totals.failed == failed_before {
            eprintln!(
                "error: cargo test ended with {status}; a crate did not build or a test was killed"
            );
        }
        self.failed |= !status.success() || self.totals.failed > failed_before;
        Ok(())
    }

    /// Prints the sum.
    fn end(self) -> Result<ExitCode> {
        writeln!(std::io::stdout(), "{}", self.totals)?;
        Ok(if self.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
