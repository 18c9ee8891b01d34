//! `cargo xtask fuzz`: broken input for every reader, for as long as one likes.
//!
//! What comes from the network is fuzzed with libFuzzer. Its coverage counters are a pass of LLVM
//! that the stable compiler knows by `-Cpasses`, so no other toolchain is needed; the addresses
//! are not sanitised, which safe code does without. What comes from files is mutated by the tests
//! of the crates that read it, with libtorch as it was built already.

use std::collections::VecDeque;
use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, available_parallelism};

use anyhow::{Context, Result, anyhow, ensure};
use clap::ValueEnum;

use crate::setup;
use crate::workspace::Workspace;

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// As cargo-fuzz sets them. `fuzzing` makes readers of pictures skip checksums, which no mutation
/// would pass.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 \
                        -Cllvm-args=-sanitizer-coverage-level=4 \
                        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                        -Cllvm-args=-sanitizer-coverage-pc-table \
                        -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Seconds that a test of a broken reader mutates; `protoguard_fuzz::SECONDS_VARIABLE`.
const SECONDS_VARIABLE: &str = "PROTOGUARD_FUZZ_SECONDS";
/// Its seed; `protoguard_fuzz::SEED_VARIABLE`.
const SEED_VARIABLE: &str = "PROTOGUARD_FUZZ_SEED";

/// Flags of `fuzz`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FuzzArgs {
    /// Readers to fuzz, one a core at a time [default: all]
    #[arg(value_enum)]
    targets: Vec<Target>,
    /// Seconds for each
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Makes a run repeatable, as far as it comes [default: another every time]
    #[arg(long)]
    seed: Option<u32>,
}

impl FuzzArgs {
    /// Every reader for as long, in the same way every time.
    pub(crate) fn every_reader(seconds: u32) -> Self {
        Self { targets: Vec::new(), seconds, seed: Some(1) }
    }
}

/// A reader of bytes that others made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// Messages to clips, with coverage
    Request,
    /// Pictures to frames, with coverage
    Image,
    /// Broken requests to a served service, over a socket
    Service,
    /// Files to checkpoints
    Checkpoint,
    /// Files to configurations of the trainer
    TrainerConfig,
    /// Files to configurations of the server
    ServerConfig,
}

/// How a target is run.
enum Run {
    /// A program of libFuzzer.
    Program(&'static str),
    /// A test that mutates for the time that a variable gives it.
    Test { package: &'static str, arguments: &'static [&'static str] },
}

impl Target {
    fn run(self) -> Run {
        let test = |package| Run::Test { package, arguments: &["--test", "mutated"] };
        match self {
            Self::Request => Run::Program("request"),
            Self::Image => Run::Program("image"),
            Self::Service => test("protoguard-service"),
            Self::Checkpoint => test("protoguard-model"),
            Self::TrainerConfig => test("protoguard-trainer"),
            Self::ServerConfig => Run::Test {
                package: "protoguard-server",
                arguments: &["--bin", "protoguard-server", "config::mutated"],
            },
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// Fuzzes.
///
/// # Errors
/// When a reader panics, hangs or takes too much memory; the input is named above.
pub(crate) fn run(workspace: &Workspace, args: &FuzzArgs) -> Result<()> {
    let all = Target::value_variants();
    let targets = if args.targets.is_empty() { all } else { &args.targets };
    if targets.iter().any(|target| matches!(target.run(), Run::Test { .. })) {
        setup::run(workspace, None)?;
    }
    let is_program = |target: &Target| matches!(target.run(), Run::Program(_));
    let guided =
        if targets.iter().any(is_program) { Some(Guided::build(workspace)?) } else { None };
    let commands: Result<VecDeque<(String, Command)>> = targets
        .iter()
        .map(|target| {
            let command = match target.run() {
                Run::Program(program) => {
                    let guided = guided.as_ref().context("programs were built")?;
                    guided.command(program, args)?
                }
                Run::Test { package, arguments } => mutated(workspace, package, arguments, args),
            };
            Ok((target.name(), command))
        })
        .collect();
    eprintln!("\n== fuzzing {} readers for {} s each", targets.len(), args.seconds);
    in_lanes(commands?)
}

/// A test that mutates for a time.
fn mutated(workspace: &Workspace, package: &str, arguments: &[&str], args: &FuzzArgs) -> Command {
    let mut cargo = workspace.cargo(&["test", "--quiet", "--package", package]);
    cargo.args(arguments).env(SECONDS_VARIABLE, args.seconds.to_string());
    if let Some(seed) = args.seed {
        cargo.env(SEED_VARIABLE, seed.to_string());
    }
    cargo
}

/// Runs as many at a time as there are cores: each keeps one busy.
fn in_lanes(commands: VecDeque<(String, Command)>) -> Result<()> {
    let lanes = available_parallelism().map_or(1, NonZeroUsize::get);
    let waiting = Mutex::new(commands);
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let lane = || {
        while let Some((name, mut command)) = next() {
            let status = command.status().with_context(|| format!("{name} cannot be started"))?;
            ensure!(status.success(), "{name}: {status}; the offending input is named above");
        }
        Ok(())
    };
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        let ended =
            lanes.into_iter().map(|lane| lane.join().map_err(|_| anyhow!("a lane panicked"))?);
        ended.collect()
    })
}

/// Programs with coverage counters.
struct Guided {
    folder: PathBuf,
}

impl Guided {
    /// Builds them, in a folder of their own: the flags differ from everyone else's.
    fn build(workspace: &Workspace) -> Result<Self> {
        let folder = workspace.root().join("target/fuzz");
        let mut cargo = workspace.cargo(&["build", "--quiet", "--package", "protoguard-fuzz"]);
        // A target that is named keeps the flags from build scripts and macros.
        cargo.args(["--features", "targets", "--profile", "fuzz", "--target", TRIPLE]);
        cargo.args(["--bin", "fuzz-request", "--bin", "fuzz-image"]);
        let status = cargo.arg("--target-dir").arg(&folder).env("RUSTFLAGS", COVERAGE).status()?;
        ensure!(status.success(), "the fuzz targets do not build");
        // Without libFuzzer nothing gives the counters a home, so this one is built as usual.
        let mut seeds = workspace.cargo(&["run", "--quiet", "--package", "protoguard-fuzz"]);
        seeds.args(["--features", "targets", "--bin", "fuzz-seeds", "--"]);
        let status = seeds.arg(folder.join("seeds")).status()?;
        ensure!(status.success(), "the seeds cannot be written");
        Ok(Self { folder })
    }

    fn program(&self, name: &str) -> Command {
        Command::new(self.folder.join(TRIPLE).join("fuzz").join(name))
    }

    /// The corpus grows from run to run; inputs that break something are kept beside it.
    fn command(&self, target: &str, args: &FuzzArgs) -> Result<Command> {
        let [corpus, broken] = ["corpus", "broken"].map(|name| self.folder.join(name).join(target));
        for folder in [&corpus, &broken] {
            fs::create_dir_all(folder)
                .with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        let mut command = self.program(&format!("fuzz-{target}"));
        command.arg(corpus).arg(self.folder.join("seeds").join(target));
        command.arg(format!("-artifact_prefix={}/", broken.display()));
        command.arg(format!("-max_total_time={}", args.seconds));
        command.args(args.seed.map(|seed| format!("-seed={seed}")));
        command.args([
            "-timeout=10",
            "-rss_limit_mb=1024",
            "-max_len=20000",
            "-print_final_stats=1",
        ]);
        Ok(command)
    }
}
