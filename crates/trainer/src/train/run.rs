//! One training from its arguments to its checkpoint.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use protoguard_checkpoint::{Checkpoint, MemoryUpdate};
use protoguard_kernels::settings::{allow_tf32, set_deterministic};
use protoguard_model::{DeviceSpec, Network};

use super::data::TrainingData;
use super::epochs::Epochs;
use super::failure::TrainError;
use super::finish::{Finished, checkpoint};
use super::keeping::Keeping;
use super::saver::{Saver, SaverError};
use super::set_threads;
use super::state::{DataRecord, Position, TrainingState, check_config};
use super::step::Learner;
use crate::calibrate::CalibrateError;
use crate::cli::TrainArgs;
use crate::config::{Effective, TrainerConfig};
use crate::interrupt::Interrupt;
use crate::log::{self, Board, JsonLines, Record, RunLog, RunRecord};
use crate::output;
use crate::scoring::ScoringError;
use crate::source::{Source, SourceArgs};

/// One run: what to learn from and by which recipe, and where everything goes.
#[derive(Clone, Debug)]
pub struct Request {
    /// The effective configuration.
    pub config: TrainerConfig,
    /// Folder of the data set.
    pub data: PathBuf,
    /// How it is read.
    pub source: SourceArgs,
    /// The checkpoint to write.
    pub out: PathBuf,
    /// Replace what is there.
    pub overwrite: bool,
    /// Go on from the state beside `out`, where there is one.
    pub resume: bool,
    /// The JSON lines; beside the checkpoint where absent, standard output where `-`.
    pub log_out: Option<PathBuf>,
    /// Folder for TensorBoard.
    pub tensorboard: Option<PathBuf>,
    /// Folder of `libtorch_cuda.so`, for CUDA devices.
    pub libtorch: Option<PathBuf>,
}

/// Trains as the arguments say and writes the checkpoint.
///
/// # Errors
/// When the configuration, the data or the place for the checkpoint is no good, a loss is not
/// finite, the process is told to stop, or the checkpoint cannot be written. Nothing half-written
/// is left.
pub fn run(args: &TrainArgs) -> anyhow::Result<()> {
    let config = Effective::load(&args.layers.layers())?.config;
    if args.print_config {
        return print_config(&config);
    }
    train(&Request {
        config,
        data: args.data.clone(),
        source: args.source.clone(),
        out: args.out.clone(),
        overwrite: args.overwrite,
        resume: args.resume,
        log_out: args.log_out.clone(),
        tensorboard: args.tensorboard.clone(),
        libtorch: args.libtorch.clone(),
    })
}

/// Runs a request to its end.
///
/// # Errors
/// As [`run`].
pub fn train(request: &Request) -> anyhow::Result<()> {
    let Some(mut saver) = prepare(request)? else { return already_finished(request) };
    let started = Instant::now();
    let config = &request.config;
    let spec: DeviceSpec = config.training.device.parse().context("training.device")?;
    let mut learner = learner(request, spec)?;
    let data = data(request)?;
    let record = DataRecord::of(&data)?;
    let mut position = start(request, &saver, &record, &mut learner)?;
    let mut log = open_log(request, &position)?;
    let interrupt = Interrupt::watch().context("signals cannot be caught")?;

    let keeping = Keeping { saver: &mut saver, log: &mut log, interrupt };
    let mut epochs = Epochs::new(config, &data, &record, keeping);
    check_warmup(config, epochs.steps_per_epoch())?;
    epochs.begin(RunRecord {
        version: env!("CARGO_PKG_VERSION"),
        config,
        data: &data.describe(config.model.shape),
        device: spec.to_string(),
        precision: learner.network().training_precision().to_string(),
        threads: tch::get_num_threads(),
        steps_per_epoch: epochs.steps_per_epoch(),
        from_step: position.total_steps,
    });
    let before = position.seconds;
    if let Err(error) = epochs.run(&mut learner, &mut position) {
        return Err(log_stop(&mut log, position.total_steps, error.into()));
    }
    // Of this process, and of those before it up to the state that it went on from.
    let seconds = before + started.elapsed().as_secs_f64();
    let history = &position.history;
    let interrupt = Some(interrupt);
    let finished = Finished { config, data: &data, history, seconds, device: spec, interrupt };
    let checkpoint = match checkpoint(learner, &finished) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            let error = stopped(error, position.total_steps, &saver);
            return Err(log_stop(&mut log, position.total_steps, error));
        }
    };
    write(request, &checkpoint, saver)?;
    let version = checkpoint.version();
    log.write(position.total_steps, &Record::End { outcome: "finished", detail: version });
    tracing::info!(version, seconds, "wrote {}", request.out.display());
    Ok(())
}

/// The log's last word of a run that something ended.
fn log_stop(log: &mut RunLog, step: u64, error: anyhow::Error) -> anyhow::Error {
    log.write(step, &Record::End { outcome: "stopped", detail: &error.to_string() });
    error
}

/// A signal during the calibration is one like any other: the last epoch's state is kept.
fn stopped(error: anyhow::Error, step: u64, saver: &Saver) -> anyhow::Error {
    match error.downcast_ref() {
        Some(CalibrateError::Scoring(ScoringError::Stopped(signal))) => {
            let state = saver.kept().map(ToOwned::to_owned);
            TrainError::Interrupted { signal: *signal, step, state }.into()
        }
        _ => error,
    }
}

/// A memory that never starts would be served as it was drawn.
fn check_warmup(config: &TrainerConfig, steps_per_epoch: u64) -> anyhow::Result<()> {
    let training = &config.training;
    let batches = training.epochs * steps_per_epoch * training.accumulate as u64;
    let memory = config.network().memory.filter(|memory| memory.update == MemoryUpdate::Ema);
    if let Some(memory) = memory {
        let warmup = memory.ema.warmup;
        anyhow::ensure!(
            warmup < batches,
            "model.memory.ema.warmup is {warmup}; the run has {batches} batches, and fewer are accepted"
        );
    }
    Ok(())
}

/// Fresh weights on their device. Before the data is decoded, which may take long: a device or a
/// disk that cannot hold them is found at once.
fn learner(request: &Request, spec: DeviceSpec) -> anyhow::Result<Learner> {
    let config = &request.config;
    let device = spec.open(request.libtorch.as_deref())?;
    set_threads(config.training.threads);
    allow_tf32(config.training.tf32)?;
    set_deterministic(config.training.deterministic)?;
    tch::manual_seed(i64::try_from(config.training.seed).context("training.seed")?);
    let mut network = Network::new(&config.network(), device)?;
    network.set_training_precision(config.training.precision).context("training.precision")?;
    Saver::check_space(&request.out, &network)?;
    Ok(Learner::new(network, config.loss.clone()))
}

fn data(request: &Request) -> anyhow::Result<TrainingData> {
    let (shape, training) = (request.config.model.shape, &request.config.training);
    let source = Source::open(&request.data, &request.source)?;
    let data = TrainingData::load(&source, shape, training)?;
    data.check_size(shape, training.batch_size * training.accumulate)?;
    tracing::info!("{}", data.describe(shape));
    Ok(data)
}

/// Takes the place of the run, or nothing where `--resume` finds it finished.
fn prepare(request: &Request) -> anyhow::Result<Option<Saver>> {
    let state = TrainingState::path_for(&request.out);
    if request.resume && !state.exists() && request.out.exists() {
        return Ok(None);
    }
    if state.exists() && !request.resume && !request.overwrite {
        return Err(SaverError::Unfinished { path: state }.into());
    }
    // A run that was killed between its last two acts has both files.
    let replace = request.overwrite || (request.resume && state.exists());
    output::check(&request.out, replace)?;
    if let Some(path) = request.log_file().filter(|_| request.log_out.is_some()) {
        output::check(&path, replace)?;
    }
    let mut saver = Saver::open(&request.out, &request.config.training)?;
    if request.overwrite && !request.resume {
        saver.discard().with_context(|| format!("removing {state:?}"))?;
    }
    Ok(Some(saver))
}

fn already_finished(request: &Request) -> anyhow::Result<()> {
    let checkpoint = Checkpoint::read(&request.out)?;
    let then: TrainerConfig = serde_json::from_value(checkpoint.content().training.config.clone())
        .with_context(|| format!("configuration in {:?}", request.out))?;
    check_config(&request.config, &then)?;
    tracing::info!(version = checkpoint.version(), "{} is finished", request.out.display());
    Ok(())
}

fn start(
    request: &Request,
    saver: &Saver,
    record: &DataRecord,
    learner: &mut Learner,
) -> anyhow::Result<Position> {
    let Some(state) = saver.kept().filter(|_| request.resume) else {
        return Ok(Position::start());
    };
    let position = TrainingState::resume(state, (&request.config, record), learner)?;
    tracing::info!(
        epoch = position.epoch + 1,
        step = position.step,
        "going on from {}",
        state.display()
    );
    Ok(position)
}

fn open_log(request: &Request, position: &Position) -> anyhow::Result<RunLog> {
    let lines = match (request.log_file(), position.log_bytes) {
        (None, _) => JsonLines::stdout(),
        (Some(path), Some(bytes)) if request.resume => {
            JsonLines::resume(&path, bytes).with_context(|| format!("opening {path:?}"))?
        }
        (Some(path), _) => {
            JsonLines::create(&path).with_context(|| format!("creating {path:?}"))?
        }
    };
    let board = request
        .tensorboard
        .as_ref()
        .map(|folder| {
            Board::create(folder, position.total_steps)
                .with_context(|| format!("creating an event file in {folder:?}"))
        })
        .transpose()?;
    Ok(RunLog::new(Some(lines), board))
}

fn write(request: &Request, checkpoint: &Checkpoint, saver: Saver) -> anyhow::Result<()> {
    checkpoint.write(&request.out).with_context(|| {
        let kept = saver.kept().map_or_else(String::new, |state| {
            format!("; {state:?} holds the trained weights, and --resume tries again")
        });
        format!("writing {:?}{kept}", request.out)
    })?;
    saver.finish().context("removing the state of the finished run")
}

impl Request {
    fn log_file(&self) -> Option<PathBuf> {
        match &self.log_out {
            Some(path) if path == Path::new("-") => None,
            Some(path) => Some(path.clone()),
            None => Some(log::path_for(&self.out)),
        }
    }
}

fn print_config(config: &TrainerConfig) -> anyhow::Result<()> {
    #[allow(clippy::print_stdout, reason = "what the caller asked for")]
    {
        print!("{}", toml::to_string(config)?);
    }
    Ok(())
}
