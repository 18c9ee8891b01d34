use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar};
use protoguard_core::Clip;
use protoguard_datasets::{ClipLoader, EpochBatches, LoaderConfig, clips_in_order};
use protoguard_model::HealthMeter;

use super::data::TrainingData;
use super::failure::TrainError;
use super::keeping::Keeping;
use super::schedule::CosineSchedule;
use super::state::{DataRecord, Position, TrainingState};
use super::step::{EpochRecord, HeldOut, Learner, LossMeter, StepError};
use super::threads::Threads;
use super::{own_threads, set_threads};
use crate::calibrate::LEARNT_CLIPS;
use crate::config::{Layers, Preset, TrainerConfig};
use crate::log::{Record, RunRecord, StepRecord, resident_mib};
use crate::progress::{self, Pace};

/// Batches that the loader prepares while one is being learnt from.
const PREFETCH: usize = 4;
/// Clips of a forward pass over held-out video.
const HELD_OUT_BATCH: usize = 8;
/// Held-out clips that are shown after every epoch.
const SHOWN: usize = 4;
/// A held-out clip costs a forward pass, a third of a training clip or less.
const HELD_OUT_COST: f64 = 0.25;

/// The loop over epochs.
#[derive(Debug)]
pub struct Epochs<'a> {
    config: &'a TrainerConfig,
    data: &'a TrainingData,
    record: &'a DataRecord,
    keeping: Keeping<'a>,
    loader: ClipLoader,
    bar: ProgressBar,
    pace: Pace,
    threads: Threads,
}

/// A run on a CPU that takes longer than this is told of the preset that does not.
const LONG: Duration = Duration::from_secs(2 * 3600);

/// What encoding sped-up companions adds to a step: the encoder is a fifth of the network.
const COMPANIONS_COST: f64 = 0.2;

/// How long the run takes, from its first steps; and, where that is long, what would be shorter.
/// The cost of a step is in proportion to the squares of side and width.
fn announcement(config: &TrainerConfig, time: Duration) -> String {
    let words = format!("this run takes about {}", HumanDuration(time));
    let cpu = TrainerConfig::load(&Layers { preset: Some(Preset::Cpu), ..Layers::default() });
    let Ok(cpu) = cpu else { return words };
    let cost = |config: &TrainerConfig| {
        let size = config.model.shape.side() * config.model.base_width;
        let companions = if config.separates() { COMPANIONS_COST } else { 0.0 };
        (size as f64).powi(2) * config.training.epochs as f64 * (1.0 + companions)
    };
    if config.training.device != "cpu" || time < LONG || cost(&cpu) >= cost(config) {
        return words;
    }
    let shorter = time.mul_f64(cost(&cpu) / cost(config));
    format!("{words}; --preset cpu about {}", HumanDuration(shorter))
}

/// The time of some steps, for the log.
#[derive(Debug, Default)]
struct Clock {
    steps: u64,
    seconds: f64,
    waiting: f64,
}

impl<'a> Epochs<'a> {
    /// A run over `data` by the configuration.
    pub fn new(
        config: &'a TrainerConfig,
        data: &'a TrainingData,
        record: &'a DataRecord,
        keeping: Keeping<'a>,
    ) -> Self {
        let training = &config.training;
        let loader_config = LoaderConfig {
            shape: config.model.shape,
            batch_size: training.batch_size,
            seed: training.seed,
            prefetch: PREFETCH.max(2 * training.accumulate),
            sped_up: config.separates(),
        };
        let loader = ClipLoader::new(data.training.clone(), loader_config);
        let steps = steps_per_epoch(&loader, training.accumulate);
        let [held_out, learnt] = [&data.held_out, &data.training]
            .map(|of| of.iter().map(|video| video.clip_count(config.model.shape)).sum::<usize>());
        let clips = (training.batch_size * training.accumulate) as f64;
        let calibrated = held_out + learnt.min(LEARNT_CLIPS);
        let calibration = calibrated as f64 / held_out.max(1) as f64;
        let pace = Pace::new(HELD_OUT_COST * held_out as f64 / clips, calibration);
        let bar = progress::training_bar(training.epochs * steps);
        let threads = threads(config);
        Self { config, data, record, keeping, loader, bar, pace, threads }
    }

    /// Steps an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        steps_per_epoch(&self.loader, self.config.training.accumulate)
    }

    /// Tells the log what is about to run.
    pub fn begin(&mut self, record: RunRecord<'_>) {
        self.keeping.log.write(record.from_step, &Record::Run(record));
    }

    /// Runs every epoch that is left and saves the state after the last.
    ///
    /// # Errors
    /// When a step fails, a loss is not finite, or the process is told to stop; the state of that
    /// moment is saved in the last case.
    pub fn run(
        &mut self,
        learner: &mut Learner,
        position: &mut Position,
    ) -> Result<(), TrainError> {
        self.bar.set_position(position.total_steps);
        while position.epoch < self.config.training.epochs {
            let health = self.steps(learner, position)?;
            // What follows is no trial.
            set_threads(self.threads.taken());
            let record = self.finish_epoch(learner, position, &health)?;
            self.bar.suspend(|| log(&record, self.config.training.epochs));
            position.history.push(record);
        }
        self.bar.finish_and_clear();
        self.save(learner, position);
        Ok(())
    }

    /// The steps that are left of the epoch, and the memory over all of it.
    fn steps(
        &mut self,
        learner: &mut Learner,
        position: &mut Position,
    ) -> Result<HealthMeter, TrainError> {
        let accumulate = self.config.training.accumulate;
        learner.freeze_norm(self.config.training.freezes_norm(position.epoch));
        learner.learn_motion(self.config.training.learns_motion(position.epoch));
        let done = position.step as usize * accumulate;
        let mut batches = self.loader.epoch(position.epoch).skip_batches(done);
        let mut health =
            HealthMeter::from_sums(position.health.as_ref(), learner.network().device())
                .map_err(|source| TrainError::HeldOut { epoch: position.epoch + 1, source })?;
        let mut clock = Clock::default();
        while position.step < self.steps_per_epoch() {
            let started = Instant::now();
            let first = batches.position();
            let step = batches.by_ref().take(accumulate).collect::<Result<Vec<_>, _>>()?;
            let waiting = started.elapsed().as_secs_f64();
            if step.len() < accumulate {
                return Err(TrainError::Loader { epoch: position.epoch + 1, batch: first + 1 });
            }
            let rate = self.rate(position.epoch);
            set_threads(self.threads.count());
            let losses = learner
                .step(&step, rate, &mut health)
                .map_err(|error| self.failure(error, position, (&batches, first)))?;
            position.advance(&losses);
            let seconds = started.elapsed().as_secs_f64();
            clock.add(seconds, waiting);
            position.spend(seconds);
            self.time(seconds, waiting);
            self.after_step(position, &mut clock);
            self.keep(learner, position, &health)?;
        }
        Ok(health)
    }

    /// Learns from the time of a step how long the others take, and with how many threads.
    fn time(&mut self, seconds: f64, waiting: f64) {
        if self.threads.is_settled() {
            self.pace.step(seconds);
        }
        if self.threads.step(seconds - waiting) {
            let words = "steps are faster with another number of threads";
            self.bar.suspend(|| tracing::info!(threads = self.threads.taken(), "{words}"));
            self.pace.restart();
        }
    }

    fn rate(&self, epoch: u64) -> f64 {
        let training = &self.config.training;
        CosineSchedule { learning_rate: training.learning_rate, epochs: training.epochs }.at(epoch)
    }

    /// Shows and logs what is due.
    fn after_step(&mut self, position: &mut Position, clock: &mut Clock) {
        let training = &self.config.training;
        let left = training.epochs * self.steps_per_epoch() - position.total_steps;
        let time_left = self.pace.left(left, training.epochs - position.epoch);
        if self.pace.is_first_estimate() {
            let time = self.pace.time_left(left, training.epochs - position.epoch);
            let words = time.map(|time| announcement(self.config, time)).unwrap_or_default();
            self.bar.suspend(|| tracing::info!("{words}"));
        }
        self.bar.set_position(position.total_steps);
        let loss = position.window.mean().losses.total;
        self.bar.set_message(format!("loss {loss:.3}, {time_left}"));
        if !position.total_steps.is_multiple_of(training.log_steps) {
            return;
        }
        let steps = clock.steps.max(1) as f64;
        let record = StepRecord {
            step: position.total_steps,
            epoch: position.epoch + 1,
            losses: position.window.mean().losses,
            learning_rate: self.rate(position.epoch),
            seconds: clock.seconds / steps,
            waiting_seconds: clock.waiting / steps,
            resident_mib: resident_mib(),
        };
        self.keeping.log.write(position.total_steps, &Record::Step(record));
        position.window = LossMeter::default();
        *clock = Clock::default();
    }

    /// Saves the state where it is time, and leaves where that is wished.
    fn keep(
        &mut self,
        learner: &Learner,
        position: &mut Position,
        health: &HealthMeter,
    ) -> Result<(), TrainError> {
        let stop = self.keeping.interrupt.signal();
        if stop.is_none() && !self.keeping.saver.is_due(position.total_steps) {
            return Ok(());
        }
        position.health = health
            .sums()
            .map_err(|source| TrainError::HeldOut { epoch: position.epoch + 1, source })?;
        let saved = self.save(learner, position);
        let Some(signal) = stop else { return Ok(()) };
        self.bar.finish_and_clear();
        let state = self.keeping.saver.kept().map(ToOwned::to_owned);
        Err(if saved {
            TrainError::Interrupted { signal, step: position.total_steps, state }
        } else {
            TrainError::NotSaved { signal, state }
        })
    }

    fn save(&mut self, learner: &Learner, position: &mut Position) -> bool {
        position.log_bytes = self.keeping.log.bytes();
        let state = TrainingState {
            config: self.config.clone(),
            data: self.record.clone(),
            position: position.clone(),
        };
        self.bar.suspend(|| self.keeping.save(&state, learner))
    }

    /// Looks at the held-out clips and closes the epoch.
    fn finish_epoch(
        &mut self,
        learner: &Learner,
        position: &mut Position,
        health: &HealthMeter,
    ) -> Result<EpochRecord, TrainError> {
        let started = Instant::now();
        let epoch = position.epoch + 1;
        let failed = |source| TrainError::HeldOut { epoch, source };
        let held_out = self.held_out(learner, position, health)?;
        self.pace.held_out(started.elapsed().as_secs_f64());
        position.spend(started.elapsed().as_secs_f64());
        let record = EpochRecord {
            epoch,
            learning_rate: self.rate(position.epoch),
            training: position.losses.mean(),
            held_out_psnr_db: held_out.mean_psnr_db(),
            motion_loss_vs_zero: held_out.motion_loss_vs_zero(),
            memory: health.read().map_err(failed)?,
            seconds: position.epoch_seconds,
        };
        self.keeping.log.epoch(position.total_steps, &record);
        let shape = self.config.model.shape;
        let first = self.data.held_out.iter().filter_map(|v| v.clip_at(shape, 0).transpose());
        let shown = first.take(SHOWN).collect::<Result<Vec<Clip>, _>>()?;
        self.keeping.log.show(position.total_steps, learner.network(), &shown);
        position.next_epoch();
        Ok(record)
    }

    fn held_out(
        &mut self,
        learner: &Learner,
        position: &mut Position,
        health: &HealthMeter,
    ) -> Result<HeldOut, TrainError> {
        let data = self.data;
        let clips = clips_in_order(&data.held_out, self.config.model.shape);
        let mut clips = clips.map(|placed| placed.map(|placed| placed.clip)).peekable();
        let mut sums = HeldOut::default();
        while clips.peek().is_some() {
            let batch = clips.by_ref().take(HELD_OUT_BATCH).collect::<Result<Vec<_>, _>>()?;
            let epoch = position.epoch + 1;
            let found = learner.held_out(&batch);
            sums.add(&found.map_err(|source| TrainError::HeldOut { epoch, source })?);
            if self.keeping.interrupt.signal().is_some() {
                self.keep(learner, position, health)?;
            }
        }
        Ok(sums)
    }

    /// Names the clips of a batch whose loss is not finite.
    fn failure(
        &self,
        error: StepError,
        position: &Position,
        (batches, first): (&EpochBatches, usize),
    ) -> TrainError {
        let (epoch, step) = (position.epoch + 1, position.step + 1);
        let StepError::NotFinite { losses, batch } = error else {
            return TrainError::Step { epoch, step, source: error };
        };
        let last = self.config.model.shape.past_frames();
        let clips: Vec<String> = batches
            .positions(first + batch)
            .iter()
            .map(|at| {
                let name = &self.data.training[at.video].name;
                format!("{name} frames {}-{}", at.start, at.start + last)
            })
            .collect();
        let state = self.keeping.saver.kept().map(ToOwned::to_owned);
        TrainError::NotFinite { epoch, step, losses, clips, state }
    }
}

impl Clock {
    fn add(&mut self, seconds: f64, waiting: f64) {
        self.steps += 1;
        self.seconds += seconds;
        self.waiting += waiting;
    }
}

/// As many threads as were asked for; of a CPU, where none were, as many as steps are fastest with.
fn threads(config: &TrainerConfig) -> Threads {
    let training = &config.training;
    match training.threads {
        0 if training.device == "cpu" && !training.deterministic => Threads::free(own_threads()),
        0 => Threads::fixed(own_threads()),
        threads => Threads::fixed(threads),
    }
}

/// What does not fill a step at the end of an epoch is dropped.
fn steps_per_epoch(loader: &ClipLoader, accumulate: usize) -> u64 {
    (loader.batches_per_epoch() / accumulate.max(1)) as u64
}

fn log(record: &EpochRecord, epochs: u64) {
    let losses = record.training.losses;
    tracing::info!(
        loss = format!("{:.4}", losses.total),
        prediction = format!("{:.4}", losses.prediction),
        difference = losses.difference.map(|loss| format!("{loss:.4}")),
        difference_zero = losses.difference_zero.map(|loss| format!("{loss:.4}")),
        discriminative = losses.discriminative.map(|loss| format!("{loss:.4}")),
        commitment = losses.commitment.map(|loss| format!("{loss:.4}")),
        separation = losses.separation.map(|loss| format!("{loss:.4}")),
        held_out_psnr_db = format!("{:.2}", record.held_out_psnr_db),
        motion_loss_vs_zero = record.motion_loss_vs_zero.map(|ratio| format!("{ratio:.3}")),
        items_in_use = record.memory.as_ref().map(|memory| memory.items_in_use),
        perplexity = record.memory.as_ref().map(|memory| format!("{:.1}", memory.perplexity)),
        seconds = format!("{:.1}", record.seconds),
        "epoch {}/{epochs}",
        record.epoch
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_on_a_cpu_is_told_of_the_preset() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let config = TrainerConfig::default();
        let words = announcement(&config, hours(300));
        // (256 · 64)² · 60 against (128 · 24)² · 6 · 1.2 is 237 times as much.
        assert_eq!(words, "this run takes about 2 weeks; --preset cpu about 76 minutes");
        assert_eq!(announcement(&config, hours(1)), "this run takes about 60 minutes");
        let mut on_gpu = config;
        on_gpu.training.device = "cuda:0".to_owned();
        assert_eq!(announcement(&on_gpu, hours(300)), "this run takes about 2 weeks");
    }
}
