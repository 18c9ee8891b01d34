//! `protoguard-server tune`: which settings suit this machine and a model.
//!
//! Every way to share the device is measured by the forward pass alone, as `bare` measures it:
//! workers × threads on a CPU, workers on a GPU, in f32, in what `auto` means there, and in int8
//! where that is asked for. The rate of scored clips decides. Of settings within a few percent of
//! the best the one that answers a lone clip soonest is taken, because that difference is noise and
//! a caller's wait is not.

use std::fmt::Write;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use anyhow::Context;
use clap::Args;
use protoguard_checkpoint::Precision;
use protoguard_core::Outputs;
use protoguard_model::DeviceSpec;
use protoguard_service::ModelSource;

use crate::bare::{Measured, Measurements, Passes, batch_sizes, cells};
use crate::config::{Config, WorkerConfig};
use crate::flags::Flags;
use crate::models::Checkpoints;

/// The share by which a rate varies on a shared machine; rates that are closer count as equal.
const SAME: f64 = 0.03;

#[derive(Debug, Args)]
pub(crate) struct TuneFlags {
    #[command(flatten)]
    pub(crate) flags: Flags,
    /// Forward passes of each batch size under each setting; the median counts.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    repetitions: u16,
    /// Try int8 as well, which scores a little otherwise: `protoguard-trainer evaluate --precision
    /// int8` says how much.
    #[arg(long)]
    int8: bool,
}

/// A setting and what it gave.
#[derive(Clone, Debug, PartialEq)]
struct Trial {
    workers_per_device: usize,
    threads_per_worker: usize,
    precision: String,
    /// The smallest that comes close to the best rate.
    max_batch_size: usize,
    clips_per_second: f64,
    lone_clip_ms: f64,
}

/// Measures the first configured model; gives the best settings as TOML, after a table in comments.
///
/// # Errors
/// When the model cannot be loaded or computed.
pub(crate) fn run(config: &Config, tune: &TuneFlags) -> anyhow::Result<String> {
    let mut trials: Vec<Trial> = Vec::new();
    let mut without = None;
    for worker in layouts(&config.worker, tune.int8) {
        let precision = worker.precision;
        let trial = match measure(config, worker, tune) {
            Ok(trial) => trial,
            // Int8 is tried beside precisions that always work. That a model cannot be computed in it
            // is a result too.
            Err(error) if precision == Precision::Int8 => {
                without = Some(format!("{precision}: {error:#}"));
                continue;
            }
            Err(error) => return Err(error),
        };
        // Where `auto` means f32, its trial is that of f32.
        if !trials.iter().any(|known| known.setting() == trial.setting()) {
            trials.push(trial);
        }
    }
    let best = best(&trials).context("no setting was measured")?;
    Ok(text(&trials, best, without.as_deref()))
}

/// Every way to share the configured devices.
fn layouts(worker: &WorkerConfig, int8: bool) -> Vec<WorkerConfig> {
    let mut devices = worker.devices.clone();
    devices.dedup();
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    let shares: Vec<(usize, usize)> = if devices.contains(&DeviceSpec::Cpu) {
        let workers = (1..=cores).filter(|workers| cores.is_multiple_of(*workers));
        workers.map(|workers| (workers, cores / workers)).collect()
    } else {
        [1, 2].map(|workers| (workers, worker.threads_per_worker)).to_vec()
    };
    let mut layouts = Vec::new();
    let precisions = [Precision::Auto, Precision::F32].into_iter();
    for precision in precisions.chain(int8.then_some(Precision::Int8)) {
        for &(workers, threads_per_worker) in &shares {
            let devices = devices.iter().flat_map(|device| std::iter::repeat_n(*device, workers));
            layouts.push(WorkerConfig {
                devices: devices.collect(),
                threads_per_worker,
                precision,
                ..worker.clone()
            });
        }
    }
    layouts
}

fn measure(config: &Config, worker: WorkerConfig, tune: &TuneFlags) -> anyhow::Result<Trial> {
    let checkpoints = Checkpoints::new(&Config { worker: worker.clone(), ..config.clone() });
    let found = checkpoints.scan()?;
    let first = found.first().context("models is `[]`; one is expected")?;
    let spec = checkpoints.load(&first.slot)?;
    let card = spec.replicas.first().context("the model has no replica")?.card().clone();
    let sizes = batch_sizes(&[], config.service.batch.max_batch_size);
    let passes = Passes { warm_up: 1, repetitions: tune.repetitions };
    let found = Measurements::take(&spec.replicas, cells(&sizes, true), passes)?;
    let mut devices = worker.devices.clone();
    devices.dedup();
    let measured = found.of_kind(Outputs::NONE, worker.devices.len());
    Ok(Trial {
        workers_per_device: worker.devices.len() / devices.len().max(1),
        threads_per_worker: worker.threads_per_worker,
        precision: card.precision,
        ..of_batches(&measured)?
    })
}

/// The rate, the smallest batch that comes close to it, and the time of a lone clip.
fn of_batches(measured: &[Measured]) -> anyhow::Result<Trial> {
    let rate = measured.iter().map(|batch| batch.clips_per_second).fold(0.0, f64::max);
    let close = measured.iter().find(|batch| batch.clips_per_second >= (1.0 - SAME) * rate);
    let lone = measured.iter().min_by_key(|batch| batch.batch_size);
    Ok(Trial {
        workers_per_device: 1,
        threads_per_worker: 1,
        precision: String::new(),
        max_batch_size: close.context("no batch was measured")?.batch_size,
        clips_per_second: rate,
        lone_clip_ms: lone.context("no batch was measured")?.median_ms,
    })
}

fn best(trials: &[Trial]) -> Option<&Trial> {
    let most = trials.iter().map(|trial| trial.clips_per_second).fold(0.0, f64::max);
    let close = trials.iter().filter(|trial| trial.clips_per_second >= (1.0 - SAME) * most);
    close.min_by(|a, b| a.lone_clip_ms.total_cmp(&b.lone_clip_ms))
}

impl Trial {
    fn setting(&self) -> (usize, usize, &str) {
        (self.workers_per_device, self.threads_per_worker, &self.precision)
    }
}

/// `without` says what could not be measured, and why.
fn text(trials: &[Trial], best: &Trial, without: Option<&str>) -> String {
    let mut text = "# workers  threads  precision  batch  clips/s  lone clip, ms\n".to_owned();
    for trial in trials {
        let _ = writeln!(
            text,
            "# {:>7}  {:>7}  {:>9}  {:>5}  {:>7.2}  {:>13.2}",
            trial.workers_per_device,
            trial.threads_per_worker,
            trial.precision,
            trial.max_batch_size,
            trial.clips_per_second,
            trial.lone_clip_ms
        );
    }
    for line in without.iter().flat_map(|reason| reason.lines()) {
        let _ = writeln!(text, "# {line}");
    }
    let _ = writeln!(text, "workers_per_device = {}", best.workers_per_device);
    let _ = writeln!(text, "threads_per_worker = {}", best.threads_per_worker);
    let _ = writeln!(text, "precision = \"{}\"", best.precision);
    let _ = writeln!(text, "max_batch_size = {}", best.max_batch_size);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RawConfig;

    fn trial(workers_per_device: usize, clips_per_second: f64, lone_clip_ms: f64) -> Trial {
        Trial {
            workers_per_device,
            threads_per_worker: 2 / workers_per_device,
            precision: "bf16".to_owned(),
            max_batch_size: 4,
            clips_per_second,
            lone_clip_ms,
        }
    }

    #[test]
    fn the_rate_decides_and_among_equals_the_lone_clip() {
        let trials = [trial(1, 98.0, 11.0), trial(2, 100.0, 19.0)];
        assert_eq!(best(&trials), Some(&trials[0]));
        let trials = [trial(1, 90.0, 11.0), trial(2, 100.0, 19.0)];
        assert_eq!(best(&trials), Some(&trials[1]));
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn the_result_is_configuration() {
        let trials = [trial(1, 98.0, 11.0), trial(2, 60.0, 19.0)];
        let text = text(&trials, &trials[0], Some("int8: departs"));
        let config: RawConfig = toml::from_str(&text).unwrap();
        assert_eq!((config.workers_per_device.size(), config.threads_per_worker.size()), (1, 2));
        assert_eq!((config.precision.0, config.max_batch_size.size()), (Precision::Bf16, 4));
        assert_eq!(text.lines().filter(|line| line.starts_with('#')).count(), 4, "{text}");
        assert!(text.contains("\n# int8: departs\nworkers_per_device"), "{text}");
    }

    #[test]
    fn every_share_of_the_cores_is_tried_in_either_precision() {
        let worker = WorkerConfig {
            devices: vec![DeviceSpec::Cpu; 3],
            threads_per_worker: 1,
            libtorch: None,
            precision: Precision::Auto,
        };
        let tried = |int8: bool| layouts(&worker, int8);
        let (layouts, more) = (tried(false), tried(true));
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        let share = |layout: &WorkerConfig| layout.devices.len() * layout.threads_per_worker;
        assert!(layouts.iter().all(|layout| share(layout) == cores), "{layouts:?}");
        assert!(layouts.iter().any(|layout| layout.precision == Precision::F32));
        let int8 = more.iter().filter(|layout| layout.precision == Precision::Int8).count();
        assert_eq!((more.len() - layouts.len(), 2 * int8), (int8, layouts.len()));
    }
}
