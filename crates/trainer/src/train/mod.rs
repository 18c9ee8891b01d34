//! The `train` command: data, the loop over epochs, calibration, checkpoint.

mod adam;
mod data;
mod epochs;
mod finish;
mod schedule;
mod step;
#[cfg(test)]
mod tests;

use std::time::Instant;

use anyhow::Context;
use protoguard_core::ClipShape;
use protoguard_model::{DeviceSpec, Network};

pub use adam::{Adam, NamedState};
pub use data::TrainingData;
pub use epochs::{Epochs, TrainError};
pub use finish::{Finished, checkpoint};
pub use schedule::CosineSchedule;
pub use step::{EpochRecord, Learner, LossMeter, MeanLosses, StepError};

use crate::cli::TrainArgs;
use crate::config::{Layers, TrainerConfig};
use crate::output;
use crate::source::Source;

/// Trains as the arguments say and writes the checkpoint.
///
/// # Errors
/// When the configuration, the data or the place for the checkpoint is no good, a loss is not
/// finite, or the checkpoint cannot be written. Nothing half-written is left.
pub fn run(args: &TrainArgs) -> anyhow::Result<()> {
    let layers =
        Layers { file: args.config.as_deref(), set: &args.set, flags: args.short.overrides() };
    let config = TrainerConfig::load(&layers)?;
    if args.print_config {
        return print_config(&config);
    }
    output::check(&args.out, args.overwrite)?;
    let started = Instant::now();
    let spec: DeviceSpec = config.training.device.parse().context("training.device")?;
    let device = spec.open(args.libtorch.as_deref())?;
    set_threads(config.training.threads);
    let shape = config.model.shape;
    let source = Source::open(&args.data, &args.source)?;
    let data = TrainingData::load(&source, shape, config.training.held_out)?;
    check_size(&data, shape, config.training.batch_size)?;
    tracing::info!("{}", data.describe(shape));

    tch::manual_seed(i64::try_from(config.training.seed).context("training.seed")?);
    let network = Network::new(&config.network(), device)?;
    let mut learner = Learner::new(network, config.loss.clone());
    let history = Epochs::new(&config.training, &data, shape).run(&mut learner)?;

    let seconds = started.elapsed().as_secs_f64();
    let finished =
        Finished { config: &config, data: &data, history: &history, seconds, device: spec };
    let checkpoint = checkpoint(learner, &finished)?;
    checkpoint.write(&args.out).with_context(|| format!("writing {:?}", args.out))?;
    tracing::info!(version = checkpoint.version(), seconds, "wrote {}", args.out.display());
    Ok(())
}

fn print_config(config: &TrainerConfig) -> anyhow::Result<()> {
    #[allow(clippy::print_stdout, reason = "what the caller asked for")]
    {
        print!("{}", toml::to_string(config)?);
    }
    Ok(())
}

/// Threads of libtorch's kernels in this thread and its backward pass; 0 leaves libtorch's own
/// choice, one a core.
pub(crate) fn set_threads(threads: usize) {
    if let Ok(threads @ 1..) = i32::try_from(threads) {
        tch::set_num_threads(threads);
    }
}

fn check_size(data: &TrainingData, shape: ClipShape, batch_size: usize) -> anyhow::Result<()> {
    let clips: usize = data.training.iter().map(|video| video.clip_count(shape)).sum();
    anyhow::ensure!(
        clips >= batch_size,
        "training videos give {clips} clips; at least training.batch_size = {batch_size} are needed"
    );
    anyhow::ensure!(
        data.held_out.iter().any(|video| video.clip_count(shape) > 0),
        "no training video is long enough to hold out its end for calibration; at least {} frames are needed",
        2 * shape.frames()
    );
    Ok(())
}
