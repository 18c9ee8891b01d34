//! A training step of ours beside the same step in eager PyTorch: same weights, clips, losses,
//! optimiser and libtorch, on the same machine in the same run.
//!
//! Both sides first take the same steps and must find the same losses. Then every variant is timed
//! in turn, round after round, so that whatever else the machine does hits all of them; medians
//! count. PyTorch is as fast as its best of both memory layouts.

mod results;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::lab::Lab;
use super::machine::{Machine, today};
use super::peers;
use protoguard_launch::workspace::Workspace;
use results::{Line, Results};

/// Flags of `bench training`.
#[derive(Clone, Debug, clap::Args, Serialize)]
pub(crate) struct TrainingArgs {
    /// Height and width of frames
    #[arg(long, default_value_t = 256)]
    side: u32,
    /// Channels of the first level
    #[arg(long, default_value_t = 64)]
    base_width: u32,
    /// Clips a step
    #[arg(long, default_value_t = 4)]
    batch_size: u32,
    /// Rounds over all variants
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Timed steps of a variant in a round
    #[arg(long, default_value_t = 2)]
    steps: u32,
    /// Steps of a small network over which resident memory is watched
    #[arg(long, default_value_t = 1000)]
    memory_steps: u32,
    /// Folder for the results [default: benches/results in the workspace]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What one process measured, ours or PyTorch's.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Measured {
    losses: Vec<[f64; 4]>,
    seconds: Vec<f64>,
    #[serde(default)]
    waiting: Vec<f64>,
    peak_mib: f64,
    growth_mib_per_1000_steps: Option<f64>,
    evaluate_vs_bare: Option<f64>,
    /// What the device can compute, of ours.
    #[serde(default)]
    precisions: Vec<String>,
}

/// What is timed, in the order of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Variant {
    OursF32,
    PytorchF32,
    PytorchF32ChannelsLast,
    OursBf16,
    PytorchBf16ChannelsLast,
}

const VARIANTS: [Variant; 5] = [
    Variant::OursF32,
    Variant::PytorchF32,
    Variant::PytorchF32ChannelsLast,
    Variant::OursBf16,
    Variant::PytorchBf16ChannelsLast,
];

impl Variant {
    fn is_bf16(self) -> bool {
        matches!(self, Self::OursBf16 | Self::PytorchBf16ChannelsLast)
    }
}

/// Relative departure of losses that two implementations in f32 may have after a step.
const LOSS_TOLERANCE: f64 = 2e-3;
/// The same in bf16, which has 8 bits of mantissa.
const BF16_TOLERANCE: f64 = 2e-2;

/// Measures, writes the results and prints one line of JSON.
///
/// # Errors
/// When a program fails or both sides disagree; a missed goal is a result, not an error.
pub(crate) fn run(workspace: &Workspace, args: &TrainingArgs) -> Result<ExitCode> {
    let lab = Lab::open(workspace)?;
    let python = peers::python(workspace)?;
    let bench = Bench { workspace, lab: &lab, args, python: &python };
    let runs = bench.runs(args.rounds)?;
    let results = Results {
        date: today()?,
        machine: Machine::describe(workspace),
        settings: serde_json::to_value(args)?,
        line: Line::of(&runs, &bench.memory()?)?,
        runs,
    };
    let default = workspace.root().join("benches/results");
    results.write(args.out.as_deref().unwrap_or(&default))?;
    eprintln!("\n{}", results.markdown());
    println!("{}", serde_json::to_string(&results.line)?);
    Ok(ExitCode::SUCCESS)
}

/// PyTorch's fastest step ÷ ours, at full size and in equal precision; the smaller of f32's and,
/// where the processor has it, bf16's.
///
/// # Errors
/// As [`run`].
pub(super) fn step_against_pytorch(
    workspace: &Workspace,
    lab: &Lab,
    python: &Path,
    rounds: u32,
) -> Result<f64> {
    let args = TrainingArgs {
        side: 256,
        base_width: 64,
        batch_size: 4,
        rounds,
        steps: 2,
        memory_steps: 0,
        out: None,
    };
    results::step_against_pytorch(&Bench { workspace, lab, args: &args, python }.runs(rounds)?)
}

struct Bench<'a> {
    workspace: &'a Workspace,
    lab: &'a Lab,
    args: &'a TrainingArgs,
    python: &'a Path,
}

impl Bench<'_> {
    /// Every variant in turn, `rounds` times, without bf16 where the processor has none: PyTorch
    /// then takes minutes for what ours refuses.
    fn runs(&self, rounds: u32) -> Result<BTreeMap<Variant, Vec<Measured>>> {
        let mut runs: BTreeMap<Variant, Vec<Measured>> = BTreeMap::new();
        for round in 0..rounds {
            for variant in VARIANTS {
                if variant.is_bf16() && !has_bf16(&runs)? {
                    eprintln!("== {variant:?} is left out: this processor does not compute bf16");
                    continue;
                }
                eprintln!("== round {} of {rounds}: {variant:?}", round + 1);
                runs.entry(variant).or_default().push(self.measure(variant)?);
            }
            check_losses(&runs)?;
        }
        Ok(runs)
    }

    fn case(&self) -> PathBuf {
        self.lab.at("training-case.safetensors")
    }

    fn measure(&self, variant: Variant) -> Result<Measured> {
        let steps = self.args.steps.to_string();
        let mut command = match variant {
            Variant::OursF32 | Variant::OursBf16 => self.ours(),
            _ => {
                let mut python = peers::script(self.workspace, self.python, "training_step.py");
                python.arg(self.case());
                python
            }
        };
        command.args(["--check", "2", "--steps", &steps]);
        match variant {
            Variant::OursF32 => command.arg("--case").arg(self.case()),
            Variant::OursBf16 => command.args(["--precision", "bf16"]),
            Variant::PytorchF32 => &mut command,
            Variant::PytorchF32ChannelsLast => command.arg("--channels-last"),
            Variant::PytorchBf16ChannelsLast => {
                command.args(["--channels-last", "--precision", "bf16"])
            }
        };
        self.lab.measured(command)
    }

    fn ours(&self) -> Command {
        let mut command = self.lab.trainer();
        command.arg("step").args(["--side", &self.args.side.to_string()]);
        command.args(["--base-width", &self.args.base_width.to_string()]);
        command.args(["--batch-size", &self.args.batch_size.to_string()]);
        command
    }

    /// A small network over many steps: growth of memory does not depend on the size, and
    /// `evaluate`'s overhead shows more where a forward pass is short.
    fn memory(&self) -> Result<Measured> {
        eprintln!("== resident memory over {} steps, and evaluate", self.args.memory_steps);
        let mut command = self.lab.trainer();
        command.args(["step", "--side", "128", "--base-width", "24", "--check", "0"]);
        command.args(["--steps", &self.args.memory_steps.to_string(), "--evaluate"]);
        self.lab.measured(command)
    }
}

/// Both sides must compute the same before their times are compared. In bf16 only the losses of
/// the pictures count: the discriminative one is a ratio of small numbers in the first steps, which
/// rounding moves by several percent.
fn check_losses(runs: &BTreeMap<Variant, Vec<Measured>>) -> Result<()> {
    let expected = &last(runs, Variant::OursF32)?.losses;
    for (variant, measured) in runs {
        let bf16 = variant.is_bf16();
        let (terms, tolerance) = if bf16 { (1..3, BF16_TOLERANCE) } else { (0..4, LOSS_TOLERANCE) };
        let found = &measured.last().context("every variant was measured")?.losses;
        for (step, (found, expected)) in found.iter().zip(expected).enumerate() {
            let departs = |term: usize| {
                (found[term] - expected[term]).abs() > tolerance * expected[term].abs()
            };
            ensure!(
                !terms.clone().any(departs),
                "{variant:?} finds the losses {found:?} in step {}; ours in f32 are {expected:?}",
                step + 1
            );
        }
    }
    Ok(())
}

/// Whether the trainer computes bf16, by what it said with its first step.
fn has_bf16(runs: &BTreeMap<Variant, Vec<Measured>>) -> Result<bool> {
    Ok(last(runs, Variant::OursF32)?.precisions.iter().any(|precision| precision == "bf16"))
}

fn last(runs: &BTreeMap<Variant, Vec<Measured>>, variant: Variant) -> Result<&Measured> {
    runs.get(&variant).and_then(|runs| runs.last()).context("every variant was measured")
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn measured(total: f64, seconds: &[f64]) -> Measured {
        Measured {
            losses: vec![[total, total, 0.0, 0.0]],
            seconds: seconds.to_vec(),
            waiting: vec![0.1; seconds.len()],
            peak_mib: 100.0,
            growth_mib_per_1000_steps: None,
            evaluate_vs_bare: Some(0.98),
            precisions: vec!["f32".to_owned()],
        }
    }

    pub(super) fn runs(bf16_total: f64) -> BTreeMap<Variant, Vec<Measured>> {
        BTreeMap::from([
            (Variant::OursF32, vec![measured(10.0, &[4.0, 9.0]), measured(10.0, &[5.0])]),
            (Variant::PytorchF32, vec![measured(10.005, &[8.0])]),
            (Variant::PytorchF32ChannelsLast, vec![measured(10.0, &[6.0])]),
            (Variant::OursBf16, vec![measured(bf16_total, &[2.5])]),
            (Variant::PytorchBf16ChannelsLast, vec![measured(10.1, &[3.0])]),
        ])
    }

    #[test]
    fn disagreement_ends_the_comparison() {
        check_losses(&runs(10.1)).unwrap();
        let error = check_losses(&runs(11.0)).unwrap_err().to_string();
        assert!(error.starts_with("OursBf16 finds the losses"), "{error}");
    }

    #[test]
    fn the_trainer_says_whether_there_is_bf16() {
        let mut runs = runs(10.1);
        assert!(!has_bf16(&runs).unwrap());
        let ours = runs.get_mut(&Variant::OursF32).unwrap().last_mut().unwrap();
        ours.precisions.push("bf16".to_owned());
        assert!(has_bf16(&runs).unwrap());
        assert!(has_bf16(&BTreeMap::new()).is_err());
    }
}
