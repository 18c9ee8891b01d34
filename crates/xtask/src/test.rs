//! `cargo xtask test`: set-up, every test, and one line with the sum.

mod built;
mod sanitizers;
mod totals;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Result, ensure};
pub(crate) use built::{Call, TestPrograms};
use totals::Totals;

use crate::setup;
use protoguard_launch::process::{Children, status};
use protoguard_launch::tools::Tools;
use protoguard_launch::workspace::Workspace;

/// Other people's gRPC clients for the end-to-end tests.
const CLIENTS: Tools =
    Tools { name: "venv", requirements: "tests/requirements.txt", with_dependencies: false };

/// The crates whose arithmetic takes other ways on other processors; the first compiles the C++.
const NUMERIC: [&str; 2] = ["protoguard-kernels", "protoguard-model"];
/// The crate that trains by that arithmetic, and its library.
const TRAINER: (&str, &str) = ("protoguard-trainer", "protoguard_trainer");

/// What makes a wide processor one with AVX2 and neither AVX-512 nor VNNI: for our own code, for
/// libtorch's, and for oneDNN's and MKL's in it.
const NARROW: [(&str, &str); 4] = [
    ("PROTOGUARD_MAX_CPU_ISA", "avx2"),
    ("ATEN_CPU_CAPABILITY", "avx2"),
    ("ONEDNN_MAX_CPU_ISA", "AVX2"),
    ("MKL_ENABLE_INSTRUCTIONS", "AVX2"),
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
    /// Only kernels and model, their C++ under AddressSanitizer and UBSan where the compiler has them
    #[arg(long)]
    sanitized: bool,
}

/// Which tests, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All, and those of kernels, model and trainer again as a narrow processor computes.
    Usual,
    /// The same, and those of kernels and model with the C++ under sanitizers.
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
/// The last line on standard output is the sum over all test programs, after the names of what
/// failed. The exit code is a failure when one test failed, or a program of tests broke.
///
/// # Errors
/// When the set-up fails, or programs or tests do not build.
pub(crate) fn run(workspace: &Workspace, selection: Selection) -> Result<ExitCode> {
    let mut sum = Sum::default();
    if selection == Selection::Light {
        let names = workspace.light_crates()?;
        let mut cargo = workspace.cargo(&["test", "--no-fail-fast"]);
        cargo.args(names.iter().flat_map(|name| ["--package", name.as_str()])).arg("--");
        sum.run(Call { name: "the crates without libtorch".to_owned(), command: cargo })?;
        return sum.end();
    }
    setup::run(workspace, None)?;
    if matches!(selection, Selection::Sanitized | Selection::Everything) {
        match sanitizers::find() {
            Ok(sanitizers) => {
                eprintln!("\n== {} under AddressSanitizer and UBSan", NUMERIC.join(" and "));
                sum.run_all(sanitizers.calls(workspace, &NUMERIC)?)?;
            }
            Err(reason) => eprintln!("\nskipped: the sanitizers' run; {reason}"),
        }
    }
    if selection != Selection::Sanitized {
        run_usual(workspace, selection, &mut sum)?;
    }
    sum.end()
}

fn run_usual(workspace: &Workspace, selection: Selection, sum: &mut Sum) -> Result<()> {
    CLIENTS.install(workspace)?;
    // Tests over real sockets start the real programs. Without the tests beside them they would be
    // built of other features of what others wrote, and most of it once more.
    let built = status(&mut workspace.cargo(&["build", "--workspace", "--bins", "--tests"]))?;
    ensure!(built.success(), "programs or tests do not build");
    let programs = TestPrograms::build(workspace, &[])?;
    let mut calls = programs.calls(workspace);
    let mut examples = workspace.cargo(&["test", "--workspace", "--doc", "--no-fail-fast"]);
    examples.arg("--");
    calls.push(Call { name: "examples in the documentation".to_owned(), command: examples });
    if selection == Selection::Narrow {
        return sum.run_all(narrowed(calls));
    }
    sum.run_all(calls)?;
    if !is_wide() {
        eprintln!(
            "\n== this processor has nothing wider than AVX2: the narrow ways were the ones taken"
        );
        return Ok(());
    }
    let (trainer, library) = TRAINER;
    eprintln!(
        "\n== {}, {trainer} again, as a processor with AVX2 and nothing wider computes",
        NUMERIC.join(", ")
    );
    let mut calls = Vec::new();
    for package in NUMERIC {
        calls.extend(programs.calls_of(workspace, package, None)?);
    }
    calls.extend(programs.calls_of(workspace, trainer, Some(library))?);
    sum.run_all(narrowed(calls))
}

/// The same as [`NARROW`] lets them compute.
fn narrowed(mut calls: Vec<Call>) -> Vec<Call> {
    for call in &mut calls {
        call.command.envs(NARROW);
        call.name.push_str(" (narrow)");
    }
    calls
}

/// Whether the processor has something that [`NARROW`] hides: vectors of AVX-512, or VNNI without
/// them.
fn is_wide() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512f")
        || std::arch::is_x86_feature_detected!("avxvnni");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// The sum over test programs.
#[derive(Debug, Default)]
struct Sum(Totals);

impl Sum {
    fn run_all(&mut self, calls: Vec<Call>) -> Result<()> {
        calls.into_iter().try_for_each(|call| self.run(call))
    }

    /// Runs tests and passes on what they print, as it comes.
    fn run(&mut self, Call { name, mut command }: Call) -> Result<()> {
        eprintln!("     Running {name}");
        self.0.begin(&name);
        let mut stdout = std::io::stdout().lock();
        let status = Children::watch()?.read(command.arg("--show-output"), |line| {
            if self.0.read(line) {
                writeln!(stdout, "{line}")?;
            }
            Ok(())
        })?;
        self.0.end(&status.to_string(), status.success());
        Ok(())
    }

    /// Prints the sum.
    fn end(self) -> Result<ExitCode> {
        writeln!(std::io::stdout(), "{}", self.0)?;
        Ok(if self.0.failed() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
