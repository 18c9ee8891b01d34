//! `protoguard-server bare`: the forward pass alone, for the ratios of served to bare.
//!
//! The same binary, the same configuration layers, the same factories and one thread a replica as
//! in serving; no sockets, no queue. Batch sizes and outputs take turns within each repetition, so
//! that a machine that slows down slows all of them down.

mod case;
mod workers;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use protoguard_checkpoint::Precision;
use protoguard_core::{ModelCard, Outputs, ScorerFactory};
use protoguard_model::precision;
use protoguard_service::ModelSource;
use serde::Serialize;
use workers::{Lap, run_workers};

use crate::config::Config;
use crate::flags::Flags;
use crate::models::Checkpoints;

#[derive(Debug, Args)]
pub(crate) struct BareFlags {
    #[command(flatten)]
    pub(crate) flags: Flags,
    /// Clips of a forward pass, one measurement each; powers of two up to max_batch_size where
    /// absent.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    batch_sizes: Vec<u16>,
    /// Forward passes of each size and kind; the median counts.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..))]
    repetitions: u16,
    /// Forward passes of each size and kind before any is measured.
    #[arg(long, default_value_t = 2)]
    warm_up: u16,
    /// Leaves out the forward pass with every picture.
    #[arg(long)]
    scores_only: bool,
    /// Writes the clip that is measured, and what comes out for it, as safetensors.
    #[arg(long, value_name = "FILE")]
    case: Option<PathBuf>,
}

/// What was measured, printed as JSON.
#[derive(Debug, Serialize)]
struct Report {
    model: String,
    version: String,
    device: String,
    precision: String,
    /// What the device can compute.
    precisions: Vec<Precision>,
    side: usize,
    workers: usize,
    threads_per_worker: usize,
    repetitions: u16,
    /// Of scores alone, over all batch sizes.
    best_clips_per_second: f64,
    scores: Vec<Measured>,
    /// Scores, predicted frame, RGB differences and error map.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    full: Vec<Measured>,
}

/// One batch size. All workers start together, and the slowest one counts.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) batch_size: usize,
    pub(crate) median_ms: f64,
    min_ms: f64,
    max_ms: f64,
    /// All workers together, at the median.
    pub(crate) clips_per_second: f64,
}

/// One cell of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    batch_size: usize,
    outputs: Outputs,
}

/// Measures the first configured model; gives one line of JSON.
///
/// # Errors
/// When it cannot be loaded or computed.
pub(crate) fn run(config: &Config, bare: &BareFlags) -> anyhow::Result<String> {
    let checkpoints = Checkpoints::new(config);
    let found = checkpoints.scan()?;
    let first = found.first().context("models is `[]`; one is expected")?;
    let spec = checkpoints.load(&first.slot)?;
    let card = spec.replicas.first().context("the model has no replica")?.card().clone();
    if let Some(path) = &bare.case {
        case::write(path, spec.replicas[0].as_ref())?;
    }
    let sizes = batch_sizes(&bare.batch_sizes, config.service.batch.max_batch_size);
    let passes = Passes { warm_up: bare.warm_up, repetitions: bare.repetitions };
    let found = Measurements::take(&spec.replicas, cells(&sizes, bare.scores_only), passes)?;
    let report = report(&card, config, bare, &found);
    Ok(serde_json::to_string(&report)? + "\n")
}

/// Forward passes of each cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passes {
    /// Before any counts.
    pub(crate) warm_up: u16,
    /// The median of which counts.
    pub(crate) repetitions: u16,
}

/// What every worker needed.
pub(crate) struct Measurements {
    cells: Vec<Cell>,
    laps: Vec<Lap>,
}

/// The batch sizes that were asked for; else the powers of two below `max_batch_size`, and that.
pub(crate) fn batch_sizes(asked: &[u16], max_batch_size: usize) -> Vec<usize> {
    if !asked.is_empty() {
        return asked.iter().copied().map(usize::from).collect();
    }
    let powers = std::iter::successors(Some(1), |size| Some(size * 2));
    let mut sizes: Vec<usize> = powers.take_while(|&size| size < max_batch_size).collect();
    sizes.push(max_batch_size);
    sizes
}

pub(crate) fn cells(batch_sizes: &[usize], scores_only: bool) -> Vec<Cell> {
    let kinds = if scores_only { &[Outputs::NONE][..] } else { &[Outputs::NONE, Outputs::ALL] };
    let of_kind =
        |&outputs| batch_sizes.iter().map(move |&batch_size| Cell { batch_size, outputs });
    kinds.iter().flat_map(of_kind).collect()
}

fn report(card: &ModelCard, config: &Config, bare: &BareFlags, found: &Measurements) -> Report {
    let workers = config.worker.devices.len();
    let scores = found.of_kind(Outputs::NONE, workers);
    Report {
        model: card.name.clone(),
        version: card.version.clone(),
        device: card.device.clone(),
        precision: card.precision.clone(),
        precisions: config.worker.devices.first().copied().map_or_else(Vec::new, precision::all_on),
        side: card.shape.side(),
        workers,
        threads_per_worker: config.worker.threads_per_worker,
        repetitions: bare.repetitions,
        best_clips_per_second: scores.iter().map(|m| m.clips_per_second).fold(0.0, f64::max),
        scores,
        full: found.of_kind(Outputs::ALL, workers),
    }
}

impl Measurements {
    /// Runs every cell on all replicas at once.
    ///
    /// # Errors
    /// When a replica cannot be built or cannot compute.
    pub(crate) fn take(
        replicas: &[Arc<dyn ScorerFactory>],
        cells: Vec<Cell>,
        passes: Passes,
    ) -> anyhow::Result<Self> {
        let laps = run_workers(replicas, &cells, passes)?;
        Ok(Self { cells, laps })
    }

    pub(crate) fn of_kind(&self, outputs: Outputs, workers: usize) -> Vec<Measured> {
        let cells = self.cells.iter().enumerate().filter(|(_, cell)| cell.outputs == outputs);
        cells.map(|(index, cell)| self.measured(index, cell.batch_size, workers)).collect()
    }

    fn measured(&self, cell: usize, batch_size: usize, workers: usize) -> Measured {
        let mut slowest: BTreeMap<usize, Duration> = BTreeMap::new();
        for lap in self.laps.iter().filter(|lap| lap.cell == cell) {
            if let Some(repetition) = lap.repetition {
                let slot = slowest.entry(repetition).or_default();
                *slot = lap.took.max(*slot);
            }
        }
        let mut took: Vec<f64> = slowest.values().map(|took| took.as_secs_f64() * 1e3).collect();
        took.sort_by(f64::total_cmp);
        let median_ms = median(&took);
        Measured {
            batch_size,
            median_ms,
            min_ms: took.first().copied().unwrap_or_default(),
            max_ms: took.last().copied().unwrap_or_default(),
            clips_per_second: (batch_size * workers) as f64 * 1e3 / median_ms,
        }
    }
}

/// The median of at least one value, which are sorted.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    } else {
        sorted[middle]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_two_and_the_configured_bound() {
        assert_eq!(batch_sizes(&[], 8), [1, 2, 4, 8]);
        assert_eq!(batch_sizes(&[], 6), [1, 2, 4, 6]);
        assert_eq!(batch_sizes(&[], 1), [1]);
        let scores = cells(&[1, 2], true);
        assert_eq!(scores, [1, 2].map(|batch_size| Cell { batch_size, outputs: Outputs::NONE }));
        assert_eq!(cells(&[1, 2], false).len(), 4);
    }

    #[test]
    fn the_slowest_worker_of_a_repetition_counts_and_the_median_of_those() {
        let lap = |repetition, ms| Lap { cell: 0, repetition, took: Duration::from_millis(ms) };
        let laps = vec![
            lap(None, 900),
            lap(Some(0), 10),
            lap(Some(0), 20),
            lap(Some(1), 40),
            lap(Some(1), 30),
            lap(Some(2), 10),
            lap(Some(2), 10),
        ];
        let cells = vec![Cell { batch_size: 4, outputs: Outputs::NONE }];
        let measured = Measurements { cells, laps }.measured(0, 4, 2);
        assert_eq!((measured.median_ms, measured.min_ms, measured.max_ms), (20.0, 10.0, 40.0));
        // Two workers, four clips each, in 20 ms.
        assert_eq!(measured.clips_per_second, 400.0);
    }
}
