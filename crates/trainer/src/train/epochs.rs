use std::time::Instant;

use indicatif::ProgressBar;
use protoguard_core::{Clip, ClipShape};
use protoguard_data::{ClipLoader, DatasetError, LoaderConfig, clips_in_order};
use protoguard_model::{HealthMeter, ModelError};

use super::data::TrainingData;
use super::schedule::CosineSchedule;
use super::step::{EpochRecord, Learner, LossMeter, StepError};
use crate::config::TrainingConfig;
use crate::progress;

/// Batches that the loader prepares while one is being learnt from.
const PREFETCH: usize = 4;

/// The loop over epochs.
#[derive(Debug)]
pub struct Epochs<'a> {
    config: &'a TrainingConfig,
    data: &'a TrainingData,
    loader: ClipLoader,
    shape: ClipShape,
    bar: ProgressBar,
}

/// What ended a run early.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A step failed.
    #[error("epoch {epoch}, step {step}: {source}")]
    Step {
        /// Counted from 1.
        epoch: u64,
        /// Counted from 1 in the epoch.
        step: usize,
        /// What happened.
        source: StepError,
    },
    /// Decoded frames can no longer be read.
    #[error(transparent)]
    Data(#[from] DatasetError),
    /// The held-out clips could not be predicted.
    #[error("epoch {epoch}, held-out clips: {source}")]
    HeldOut {
        /// Counted from 1.
        epoch: u64,
        /// What happened.
        source: ModelError,
    },
}

impl<'a> Epochs<'a> {
    /// A run over `data` by the recipe.
    pub fn new(config: &'a TrainingConfig, data: &'a TrainingData, shape: ClipShape) -> Self {
        let loader_config = LoaderConfig {
            shape,
            batch_size: config.batch_size,
            seed: config.seed,
            prefetch: PREFETCH,
        };
        let loader = ClipLoader::new(data.training.clone(), loader_config);
        let steps = config.epochs * loader.batches_per_epoch() as u64;
        Self { config, data, loader, shape, bar: progress::bar(steps, "training") }
    }

    /// Runs every epoch and returns their records.
    ///
    /// # Errors
    /// When a step fails or a loss is not finite.
    pub fn run(&self, learner: &mut Learner) -> Result<Vec<EpochRecord>, TrainError> {
        let schedule =
            CosineSchedule { learning_rate: self.config.learning_rate, epochs: self.config.epochs };
        let mut history = Vec::new();
        for epoch in 0..self.config.epochs {
            let record = self.epoch(learner, epoch, schedule.at(epoch))?;
            self.bar.suspend(|| log(&record, self.config.epochs));
            history.push(record);
        }
        self.bar.finish_and_clear();
        Ok(history)
    }

    fn epoch(
        &self,
        learner: &mut Learner,
        epoch: u64,
        rate: f64,
    ) -> Result<EpochRecord, TrainError> {
        let started = Instant::now();
        let mut losses = LossMeter::default();
        let mut health = HealthMeter::new();
        for (index, clips) in self.loader.epoch(epoch).enumerate() {
            let found = learner
                .step(&clips?, rate, &mut health)
                .map_err(|source| TrainError::Step { epoch: epoch + 1, step: index + 1, source })?;
            losses.add(&found);
            self.bar.inc(1);
            self.bar.set_message(format!("loss {:.3}", found.total));
        }
        let failed = |source| TrainError::HeldOut { epoch: epoch + 1, source };
        Ok(EpochRecord {
            epoch: epoch + 1,
            learning_rate: rate,
            training: losses.mean(),
            held_out_psnr_db: self.held_out_psnr_db(learner, epoch)?,
            memory: health.read().map_err(failed)?,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    fn held_out_psnr_db(&self, learner: &Learner, epoch: u64) -> Result<f64, TrainError> {
        let failed = |source| TrainError::HeldOut { epoch: epoch + 1, source };
        let placed = clips_in_order(&self.data.held_out, self.shape);
        let mut clips = placed.map(|placed| placed.map(|placed| placed.clip)).peekable();
        let (mut sum, mut count) = (0.0, 0usize);
        while clips.peek().is_some() {
            let batch: Vec<Clip> = clips.by_ref().take(8).collect::<Result<_, _>>()?;
            sum += learner.held_out_psnr_db(&batch).map_err(failed)?.iter().sum::<f64>();
            count += batch.len();
        }
        Ok(sum / count.max(1) as f64)
    }
}

fn log(record: &EpochRecord, epochs: u64) {
    let losses = record.training.losses;
    tracing::info!(
        loss = format!("{:.4}", losses.total),
        prediction = format!("{:.4}", losses.prediction),
        difference = losses.difference.map(|loss| format!("{loss:.4}")),
        discriminative = losses.discriminative.map(|loss| format!("{loss:.4}")),
        held_out_psnr_db = format!("{:.2}", record.held_out_psnr_db),
        items_in_use = record.memory.as_ref().map(|memory| memory.items_in_use),
        perplexity = record.memory.as_ref().map(|memory| format!("{:.1}", memory.perplexity)),
        seconds = format!("{:.1}", record.seconds),
        "epoch {}/{epochs}",
        record.epoch
    );
    if let Some(warning) = record.memory.as_ref().and_then(|memory| memory.warning()) {
        tracing::warn!("{warning}");
    }
}
