use protoguard_core::{Clip, PsnrDb};
use protoguard_model::{
    Batch, HealthMeter, LossConfig, MemoryHealth, ModelError, NamedTensor, Network, StepLosses,
    losses, scores,
};
use serde::{Deserialize, Serialize};

use super::adam::Adam;

/// A network in training: its weights, its optimiser and what to minimise.
#[derive(Debug)]
pub struct Learner {
    network: Network,
    adam: Adam,
    loss: LossConfig,
}

/// Means over some steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanLosses {
    /// Of the unweighted terms and of the weighted sum.
    pub losses: StepLosses,
    /// Steps averaged over.
    pub steps: u64,
}

/// Why a step could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// libtorch refused.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A loss is NaN or infinite; weights are worth nothing from here on.
    #[error(
        "loss is not finite: total {total}, prediction {prediction}; a lower training.learning_rate may help",
        total = losses.total, prediction = losses.prediction
    )]
    NotFinite {
        /// The losses of the step.
        losses: StepLosses,
    },
}

impl Learner {
    /// A learner whose optimiser has seen nothing.
    pub fn new(network: Network, loss: LossConfig) -> Self {
        let named = |NamedTensor { name, tensor }: NamedTensor| (name, tensor);
        let adam = Adam::new(network.trainable_parameters().into_iter().map(named));
        Self { network, adam, loss }
    }

    /// One step on a batch: forward, losses, backward, Adam, and the memory's update after it.
    ///
    /// # Errors
    /// When libtorch refuses or a loss is not finite; the weights are then as before the step.
    pub fn step(
        &mut self,
        clips: &[Clip],
        learning_rate: f64,
        health: &mut HealthMeter,
    ) -> Result<StepLosses, StepError> {
        let batch = Batch::from_clips(clips, self.network.device())?;
        let pass = self.network.forward_training(&batch)?;
        let terms = losses::compute(&self.loss, &batch, &pass)?;
        let read = terms.read()?;
        if !read.total.is_finite() {
            return Err(StepError::NotFinite { losses: read });
        }
        self.adam.zero_grad();
        terms.total.f_backward().map_err(ModelError::from)?;
        self.adam.step(learning_rate);
        self.network.commit_memory(&pass)?;
        if let Some(memory) = &pass.memory {
            health.observe(memory)?;
        }
        Ok(read)
    }

    /// PSNR in dB of each clip's prediction by the frozen network, for clips that no weight is
    /// fitted to.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn held_out_psnr_db(&self, clips: &[Clip]) -> Result<Vec<f64>, ModelError> {
        let batch = Batch::from_clips(clips, self.network.device())?;
        let pass = self.network.forward_inference(&batch.input, false)?;
        let errors = scores::error_map(&pass.prediction, batch.required_target()?)?;
        let errors = Vec::<f64>::try_from(&scores::mean_squared_error(&errors)?)?;
        Ok(errors.into_iter().map(|error| PsnrDb::from_mse(error).0).collect())
    }

    /// The network and the optimiser, once there is nothing more to learn.
    pub fn into_parts(self) -> (Network, Adam) {
        (self.network, self.adam)
    }
}

/// Sums the losses of an epoch.
#[derive(Debug, Default)]
pub struct LossMeter {
    sum: StepLosses,
    steps: u64,
}

impl LossMeter {
    /// Adds a step.
    pub fn add(&mut self, losses: &StepLosses) {
        let plus =
            |sum: Option<f64>, value: Option<f64>| value.map(|value| sum.unwrap_or(0.0) + value);
        self.sum = StepLosses {
            total: self.sum.total + losses.total,
            prediction: self.sum.prediction + losses.prediction,
            difference: plus(self.sum.difference, losses.difference),
            discriminative: plus(self.sum.discriminative, losses.discriminative),
        };
        self.steps += 1;
    }

    /// The means so far; zeros before the first step.
    pub fn mean(&self) -> MeanLosses {
        let steps = self.steps.max(1) as f64;
        let losses = StepLosses {
            total: self.sum.total / steps,
            prediction: self.sum.prediction / steps,
            difference: self.sum.difference.map(|sum| sum / steps),
            discriminative: self.sum.discriminative.map(|sum| sum / steps),
        };
        MeanLosses { losses, steps: self.steps }
    }
}

/// The epoch-wise record of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: u64,
    /// Adam's learning rate in it.
    pub learning_rate: f64,
    /// Mean losses over its steps.
    pub training: MeanLosses,
    /// Mean PSNR in dB on held-out clips by the frozen network.
    pub held_out_psnr_db: f64,
    /// How the memory was used; absent without one.
    pub memory: Option<MemoryHealth>,
    /// Wall-clock time.
    pub seconds: f64,
}
