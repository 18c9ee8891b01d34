//! Training steps, and the means of what they find.

use std::collections::BTreeMap;

use protoguard_checkpoint::{Array, LossConfig, MemoryHealth};
use protoguard_core::{Clip, PsnrDb};
use protoguard_datasets::ClipBatch;
use protoguard_model::{
    Batch, HealthMeter, ModelError, NamedTensor, Network, StepLosses, TrainingPass, losses,
    overwrite, scores, to_array,
};
use serde::{Deserialize, Serialize};

use super::adam::{Adam, NamedState};

/// A network in training: its weights, its optimiser and what to minimise.
#[derive(Debug)]
pub struct Learner {
    network: Network,
    adam: Adam,
    loss: LossConfig,
    learns_motion: bool,
}

/// Sums over clips that no weight is fitted to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HeldOut {
    /// Clips.
    pub clips: usize,
    /// PSNR in dB of the predictions.
    pub psnr_db: f64,
    /// The motion branch's loss; 0 without one.
    pub motion: f64,
    /// The same of a branch that makes zeros.
    pub motion_of_zeros: f64,
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
        /// The losses of the batch.
        losses: Box<StepLosses>,
        /// Which of the step's batches it is, from 0.
        batch: usize,
    },
}

impl StepError {
    fn in_batch(self, batch: usize) -> Self {
        match self {
            Self::NotFinite { losses, .. } => Self::NotFinite { losses, batch },
            other => other,
        }
    }
}

impl Learner {
    /// A learner whose optimiser has seen nothing.
    pub fn new(network: Network, loss: LossConfig) -> Self {
        let named = |NamedTensor { name, tensor }: NamedTensor| (name, tensor);
        let adam = Adam::new(network.trainable_parameters().into_iter().map(named));
        Self { network, adam, loss, learns_motion: true }
    }

    /// One step of the optimiser on the mean gradient of some batches. Each goes forward and
    /// backward in turn, and the memory follows each, the last after the optimiser has stepped.
    ///
    /// # Errors
    /// When libtorch refuses or a loss is not finite; no weight has moved then.
    pub fn step(
        &mut self,
        batches: &[ClipBatch],
        learning_rate: f64,
        health: &mut HealthMeter,
    ) -> Result<StepLosses, StepError> {
        self.adam.forget_gradients()?;
        let mut losses = LossMeter::default();
        let mut last = None;
        for (index, batch) in batches.iter().enumerate() {
            let pass = self
                .accumulate(batch, batches.len(), &mut losses)
                .map_err(|failure| failure.in_batch(index))?;
            if let Some(memory) = &pass.memory {
                health.observe(memory)?;
            }
            // After the last, items that are parameters have moved once more: see below.
            if index + 1 < batches.len() {
                self.network.commit_memory(&pass)?;
            }
            last = Some(pass);
        }
        self.adam.step(learning_rate)?;
        if let Some(pass) = &last {
            self.network.commit_memory(pass)?;
        }
        Ok(losses.mean().losses)
    }

    /// Adds a batch's share of the gradient.
    fn accumulate(
        &self,
        clips: &ClipBatch,
        of: usize,
        losses: &mut LossMeter,
    ) -> Result<TrainingPass, StepError> {
        let device = self.network.device();
        let mut batch = Batch::from_clips(&clips.clips, device)?;
        if !clips.sped_up.is_empty() {
            batch = batch.beside(Batch::from_clips(&clips.sped_up, device)?)?;
        }
        let pass = self.network.forward_training(&batch)?;
        let weight = if self.learns_motion { self.loss.difference_weight } else { 0.0 };
        let loss = LossConfig { difference_weight: weight, ..self.loss.clone() };
        let terms = losses::compute(&loss, &batch, &pass)?;
        let share = if of == 1 { terms.total.shallow_clone() } else { &terms.total / of as f64 };
        share.f_backward().map_err(ModelError::from)?;
        // Reading waits for a GPU, which by now has the backward pass to do as well.
        let read = terms.read()?;
        if !read.total.is_finite() {
            return Err(StepError::NotFinite { losses: Box::new(read), batch: 0 });
        }
        losses.add(&read);
        Ok(pass)
    }

    /// See [`Network::freeze_norm`].
    pub fn freeze_norm(&mut self, frozen: bool) {
        self.network.freeze_norm(frozen);
    }

    /// Whether the motion branch's loss has its weight; at first it has.
    pub fn learn_motion(&mut self, learns: bool) {
        self.learns_motion = learns;
    }

    /// The network, for looking at what it makes.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Every tensor that the learner will need to go on, by name.
    ///
    /// # Errors
    /// When the device failed in the meantime.
    pub fn to_arrays(&self) -> Result<BTreeMap<String, Array>, ModelError> {
        self.tensors().map(|NamedState { name, tensor }| Ok((name, to_array(&tensor)?))).collect()
    }

    /// Goes on from what [`Learner::to_arrays`] gave after `steps` steps.
    ///
    /// # Errors
    /// When an array is missing or of another shape.
    pub fn load_arrays(
        &mut self,
        arrays: &BTreeMap<String, Array>,
        steps: u64,
    ) -> Result<(), ModelError> {
        let tensors = self.tensors().map(|NamedState { name, tensor }| (name, tensor));
        overwrite(tensors, arrays)?;
        self.adam.set_steps(steps);
        Ok(())
    }

    /// Steps that the optimiser has taken.
    pub fn steps(&self) -> u64 {
        self.adam.steps()
    }

    fn tensors(&self) -> impl Iterator<Item = NamedState> {
        let network = self.network.tensors().into_iter();
        let buffers = self.network.training_buffers().into_iter();
        let network = network
            .chain(buffers.map(|NamedTensor { name, tensor }| (name, tensor)))
            .map(|(name, tensor)| NamedState { name: format!("network.{name}"), tensor });
        let optimizer = self.adam.state().into_iter();
        network.chain(optimizer.map(|NamedState { name, tensor }| NamedState {
            name: format!("optimizer.{name}"),
            tensor,
        }))
    }

    /// What the frozen network makes of clips that no weight is fitted to.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn held_out(&self, clips: &[Clip]) -> Result<HeldOut, ModelError> {
        let batch = Batch::from_clips(clips, self.network.device())?;
        let pass = self.network.forward_inference(&batch.input, true)?;
        let errors = scores::error_map(&pass.prediction, batch.required_target()?)?;
        let errors = Vec::<f64>::try_from(&scores::mean_squared_error(&errors)?)?;
        let psnr_db = errors.into_iter().map(|error| PsnrDb::from_mse(error).0).sum();
        let mut sums = HeldOut { clips: clips.len(), psnr_db, ..HeldOut::default() };
        if let Some(maps) = &pass.motion {
            let motion = losses::motion_loss(self.loss.reconstruction, &batch, maps)?;
            let clips = clips.len() as f64;
            sums.motion = clips * f64::try_from(&motion.loss)?;
            sums.motion_of_zeros = clips * f64::try_from(&motion.of_zeros)?;
        }
        Ok(sums)
    }

    /// The network and the optimiser, once there is nothing more to learn.
    pub fn into_parts(self) -> (Network, Adam) {
        (self.network, self.adam)
    }
}

impl HeldOut {
    /// Adds other clips.
    pub fn add(&mut self, other: &Self) {
        self.clips += other.clips;
        self.psnr_db += other.psnr_db;
        self.motion += other.motion;
        self.motion_of_zeros += other.motion_of_zeros;
    }

    /// Mean PSNR in dB; 0 without clips.
    pub fn mean_psnr_db(&self) -> f64 {
        self.psnr_db / self.clips.max(1) as f64
    }

    /// The motion branch's loss over that of zeros; nothing without a branch or motion.
    pub fn motion_loss_vs_zero(&self) -> Option<f64> {
        (self.motion_of_zeros > 0.0).then(|| self.motion / self.motion_of_zeros)
    }
}

/// Sums the losses of some steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
            gradient: plus(self.sum.gradient, losses.gradient),
            difference: plus(self.sum.difference, losses.difference),
            difference_zero: plus(self.sum.difference_zero, losses.difference_zero),
            discriminative: plus(self.sum.discriminative, losses.discriminative),
            commitment: plus(self.sum.commitment, losses.commitment),
            separation: plus(self.sum.separation, losses.separation),
        };
        self.steps += 1;
    }

    /// Whether nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.steps == 0
    }

    /// The means so far; zeros before the first step. A term that was absent in a step counts as 0
    /// there.
    pub fn mean(&self) -> MeanLosses {
        let steps = self.steps.max(1) as f64;
        let losses = StepLosses {
            total: self.sum.total / steps,
            prediction: self.sum.prediction / steps,
            gradient: self.sum.gradient.map(|sum| sum / steps),
            difference: self.sum.difference.map(|sum| sum / steps),
            difference_zero: self.sum.difference_zero.map(|sum| sum / steps),
            discriminative: self.sum.discriminative.map(|sum| sum / steps),
            commitment: self.sum.commitment.map(|sum| sum / steps),
            separation: self.sum.separation.map(|sum| sum / steps),
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
    /// The motion branch's loss on held-out clips over that of zeros; absent without a branch.
    pub motion_loss_vs_zero: Option<f64>,
    /// How the memory was used; absent without one.
    pub memory: Option<MemoryHealth>,
    /// Wall-clock time.
    pub seconds: f64,
}
