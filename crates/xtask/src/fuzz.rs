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
use crate::test::TestPrograms;
use protoguard_launch::process::status;
use protoguard_launch::workspace::Workspace;

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
    Test(MutatingTest),
}

/// Where such a test is.
struct MutatingTest {
    /// Each has a program of the name.
    packages: &'static [&'static str],
    /// The kind of its program, as cargo's flag has it, and its name.
    program: [&'static str; 2],
    /// Of all the program's tests.
    tests: &'static [&'static str],
}

impl Target {
    fn run(self) -> Run {
        let test = |packages, name| {
            Run::Test(MutatingTest { packages, program: ["--test", name], tests: &[] })
        };
        match self {
            Self::Request => Run::Program("request"),
            Self::Image => Run::Program("image"),
            Self::Service => test(&["protoguard-service"], "mutated"),
            Self::Checkpoint => {
                test(&["protoguard-checkpoint", "protoguard-model"], "mutated_checkpoints")
            }
            Self::TrainerConfig => test(&["protoguard-trainer"], "mutated"),
            Self::ServerConfig => Run::Test(MutatingTest {
                packages: &["protoguard-server"],
                program: ["--bin", "protoguard-server"],
                tests: &["config::mutated"],
            }),
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
    let (mut programs, mut tests) = (Vec::new(), Vec::new());
    for target in targets {
        match target.run() {
            Run::Program(program) => programs.push((target.name(), program)),
            Run::Test(test) => tests.push((target.name(), test)),
        }
    }
    let mut commands = VecDeque::new();
    if !programs.is_empty() {
        let guided = Guided::build(workspace)?;
        for (name, program) in programs {
            commands.push_back((name, guided.command(program, args)?));
        }
    }
    if !tests.is_empty() {
        commands.extend(mutating(workspace, &tests, args)?);
    }
    eprintln!("\n== fuzzing {} readers for {} s each", targets.len(), args.seconds);
    in_lanes(commands)
}

/// Builds tests, and has each mutate for a time.
fn mutating(
    workspace: &Workspace,
    tests: &[(String, MutatingTest)],
    args: &FuzzArgs,
) -> Result<Vec<(String, Command)>> {
    setup::run(workspace, None)?;
    let flags: Vec<&str> = tests.iter().flat_map(|(_, test)| test.program).collect();
    let programs = TestPrograms::build(workspace, &flags)?;
    let mut all = Vec::new();
    for (name, test) in tests {
        let mut calls = Vec::new();
        for package in test.packages {
            calls.extend(programs.calls_of(workspace, package, Some(test.program[1]))?);
        }
        for mut call in calls {
            let command = &mut call.command;
            command.arg("--quiet").args(test.tests);
            command.env(SECONDS_VARIABLE, args.seconds.to_string());
            command.envs(args.seed.map(|seed| (SEED_VARIABLE, seed.to_string())));
            all.push((name.clone(), call.command));
        }
    }
    Ok(all)
}

/// Runs as many at a time as there are cores: each keeps one busy.
fn in_lanes(commands: VecDeque<(String, Command)>) -> Result<()> {
    let lanes = available_parallelism().map_or(1, NonZeroUsize::get);
    let waiting = Mutex::new(commands);
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let lane = || {
        while let Some((name, mut command)) = next() {
            let ended = status(&mut command).with_context(|| name.clone())?;
            ensure!(ended.success(), "{name}: {ended}; the offending input is named above");
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
        cargo.arg("--target-dir").arg(&folder).env("RUSTFLAGS", COVERAGE);
        ensure!(status(&mut cargo)?.success(), "the fuzz targets do not build");
        // Without libFuzzer nothing gives the counters a home, so this one is built as usual.
        let mut seeds = workspace.cargo(&["run", "--quiet", "--package", "protoguard-fuzz"]);
        seeds.args(["--features", "targets", "--bin", "fuzz-seeds", "--"]);
        seeds.arg(folder.join("seeds"));
        ensure!(status(&mut seeds)?.success(), "the seeds cannot be written");
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
