//! From what was measured to ratios, a table and files.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Measured, Variant};
use crate::machine::Machine;
use crate::results::{median, write_results};

/// The line that the command ends with.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    step_f32_vs_pytorch: f64,
    /// Nothing where the processor does not compute bf16, as below.
    step_bf16_vs_f32: Option<f64>,
    loader_share: f64,
    peak_mib: f64,
    peak_mib_pytorch: f64,
    evaluate_vs_bare: Option<f64>,
    growth_mib_per_1000_steps: Option<f64>,
}

impl Line {
    pub(super) fn of(runs: &BTreeMap<Variant, Vec<Measured>>, small: &Measured) -> Result<Self> {
        let seconds = |variant| median_of(runs, variant, |measured| &measured.seconds);
        let peak = |variant: Variant| {
            let runs = runs.get(&variant).into_iter().flatten();
            runs.map(|measured| measured.peak_mib).fold(f64::NAN, f64::max)
        };
        let ours = seconds(Variant::OursF32)?;
        let plain = seconds(Variant::PytorchF32)?;
        let channels_last = seconds(Variant::PytorchF32ChannelsLast)?;
        Ok(Self {
            step_f32_vs_pytorch: ours / plain.min(channels_last),
            step_bf16_vs_f32: seconds(Variant::OursBf16).ok().map(|bf16| ours / bf16),
            loader_share: median_of(runs, Variant::OursF32, |measured| &measured.waiting)? / ours,
            peak_mib: peak(Variant::OursF32),
            peak_mib_pytorch: peak(Variant::PytorchF32).min(peak(Variant::PytorchF32ChannelsLast)),
            evaluate_vs_bare: small.evaluate_vs_bare,
            growth_mib_per_1000_steps: small.growth_mib_per_1000_steps,
        })
    }
}

/// PyTorch's fastest step ÷ ours in equal precision; the smaller of f32's and bf16's, where there
/// is that.
pub(super) fn step_against_pytorch(runs: &BTreeMap<Variant, Vec<Measured>>) -> Result<f64> {
    let seconds = |variant| median_of(runs, variant, |measured| &measured.seconds);
    let plain = seconds(Variant::PytorchF32)?.min(seconds(Variant::PytorchF32ChannelsLast)?);
    let f32 = plain / seconds(Variant::OursF32)?;
    let bf16 = [Variant::PytorchBf16ChannelsLast, Variant::OursBf16].map(seconds);
    Ok(match bf16 {
        [Ok(pytorch), Ok(ours)] => f32.min(pytorch / ours),
        _ => f32,
    })
}

fn median_of(
    runs: &BTreeMap<Variant, Vec<Measured>>,
    variant: Variant,
    of: fn(&Measured) -> &[f64],
) -> Result<f64> {
    let runs = runs.get(&variant).into_iter().flatten();
    median(runs.flat_map(of).copied().collect()).context("every variant was timed")
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Results {
    pub(super) date: String,
    pub(super) machine: Machine,
    pub(super) settings: Value,
    pub(super) line: Line,
    pub(super) runs: BTreeMap<Variant, Vec<Measured>>,
}

impl Results {
    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "# Training step, {}\n\n{}.\n\nSettings: `{}`.\n\n",
            self.date,
            self.machine.line(),
            self.settings
        );
        let line = &self.line;
        let goals = [
            ("step in f32 ÷ PyTorch's", "≤ 1.0", Some(line.step_f32_vs_pytorch)),
            ("f32 ÷ bf16", "≥ 1.8", line.step_bf16_vs_f32),
            ("waiting for the loader ÷ step", "< 0.03", Some(line.loader_share)),
            ("peak memory, MiB", "≤ PyTorch's", Some(line.peak_mib)),
            ("PyTorch's peak memory, MiB", "", Some(line.peak_mib_pytorch)),
            ("evaluate ÷ bare forward", "≥ 0.95", line.evaluate_vs_bare),
            ("growth, MiB in 1000 steps", "< 1", line.growth_mib_per_1000_steps),
        ];
        text.push_str("| what | goal | measured |\n|---|---|---|\n");
        for (what, goal, value) in goals {
            let value = value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"));
            let _ = writeln!(text, "| {what} | {goal} | {value} |");
        }
        text.push_str("\nMedian seconds of a step:\n\n| variant | seconds |\n|---|---|\n");
        for (variant, runs) in &self.runs {
            let seconds = median(runs.iter().flat_map(|run| run.seconds.clone()).collect());
            let _ = writeln!(text, "| {} | {:.3} |", json!(variant), seconds.unwrap_or(f64::NAN));
        }
        text
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let stem = format!("training-{}", self.date);
        write_results(folder, &stem, self, &self.markdown()).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{measured, runs};
    use super::*;

    #[test]
    fn ratios_are_of_medians_against_the_faster_layout() {
        let line = Line::of(&runs(10.1), &measured(0.0, &[])).unwrap();
        assert!((line.step_f32_vs_pytorch - 5.0 / 6.0).abs() < 1e-12);
        assert_eq!((line.step_bf16_vs_f32, line.loader_share), (Some(2.0), 0.02));
        assert_eq!(line.evaluate_vs_bare, Some(0.98));
        assert!((step_against_pytorch(&runs(10.1)).unwrap() - 1.2).abs() < 1e-12);
        let mut without = runs(10.1);
        without.retain(|variant, _| !variant.is_bf16());
        assert_eq!(Line::of(&without, &measured(0.0, &[])).unwrap().step_bf16_vs_f32, None);
        assert!((step_against_pytorch(&without).unwrap() - 1.2).abs() < 1e-12);
    }
}
