//! The whole network: a shared encoder, the memory and two decoders, and the variables they own.

use std::collections::BTreeMap;

use protoguard_checkpoint::Precision;
use protoguard_checkpoint::plan::{MEMORY_ITEMS, MEMORY_SCALE, NetworkPlan};
use protoguard_checkpoint::{MemoryGradient, ModelConfig};
use tch::{Device, Kind, Tensor, nn};

use crate::batch::Batch;
use crate::decoder::Decoder;
use crate::encoder::{Encoder, Encoding};
use crate::error::Result;
use crate::layer::Mode;
use crate::memory::{Memory, MemoryPass, normalized_bottleneck};
use crate::motion::MotionMaps;
use crate::named_tensor::NamedTensor;
use crate::precision::settled_on;

/// The model of one thread on one device.
///
/// A variable's name is its path, such as `encoder.1.conv1.weight`: levels count from 1, at full
/// resolution, to 4, the bottleneck, in the encoder and in both decoders.
#[derive(Debug)]
pub struct Network {
    config: ModelConfig,
    variables: nn::VarStore,
    encoder: Encoder,
    memory: Option<Memory>,
    prediction: Decoder,
    motion: Option<Decoder>,
    training_precision: Precision,
    frozen_norm: bool,
}

/// What a training step needs of a forward pass; every tensor is attached to the graph.
#[derive(Debug)]
pub struct TrainingPass {
    /// The predicted frames, `[B, 3, S, S]` in [-1, 1].
    pub prediction: Tensor,
    /// What the motion decoder makes; absent without one.
    pub motion: Option<MotionMaps>,
    /// The bottleneck, `[B, C, H, H]`.
    pub z: Tensor,
    /// What happened in the memory; absent without one.
    pub memory: Option<MemoryPass>,
    /// What the memory has for the batch's sped-up companions; absent without them, and while the
    /// decoders go by the memory.
    pub sped_up: Option<MemoryPass>,
}

/// What scoring needs of a forward pass, without a graph.
#[derive(Debug)]
pub struct InferencePass {
    /// The predicted frames, `[B, 3, S, S]` in [-1, 1].
    pub prediction: Tensor,
    /// What the motion decoder makes, where it was asked for and the network has one.
    pub motion: Option<MotionMaps>,
    /// What was read from the memory; absent without one.
    pub memory: Option<MemoryPass>,
}

/// The queries of a batch after the memory, from which both decoders start.
#[derive(Debug)]
pub struct Recollection {
    /// `z_hat [B, C, H, H]`.
    pub z_hat: Tensor,
    /// What was read from the memory; absent without one.
    pub memory: Option<MemoryPass>,
}

impl Network {
    /// A network with fresh weights, as PyTorch would draw them. Call [`tch::manual_seed`] first
    /// for reproducible ones.
    ///
    /// # Errors
    /// When the configuration is out of bounds or the device has no room.
    pub fn new(config: &ModelConfig, device: Device) -> Result<Self> {
        config.validate()?;
        let variables = nn::VarStore::new(device);
        let plan = NetworkPlan::new(config);
        let root = variables.root();
        let memory = config
            .memory
            .as_ref()
            .map(|memory| Memory::new(&root, memory, config.channels()))
            .transpose()?;
        Ok(Self {
            encoder: Encoder::new(&root, &plan.encoder)?,
            memory,
            prediction: Decoder::new(&root, &plan.prediction)?,
            motion: plan.motion.as_ref().map(|plan| Decoder::new(&root, plan)).transpose()?,
            config: config.clone(),
            variables,
            training_precision: Precision::F32,
            frozen_norm: false,
        })
    }

    /// What the network was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The variables, for tch's own optimisers.
    pub fn variables(&self) -> &nn::VarStore {
        &self.variables
    }

    /// Where the variables are.
    pub fn device(&self) -> Device {
        self.variables.device()
    }

    /// The memory, where there is one.
    pub fn memory(&self) -> Option<&Memory> {
        self.memory.as_ref()
    }

    /// The floating-point kind of the variables.
    pub fn kind(&self) -> Kind {
        self.variables.kind()
    }

    /// Casts every variable; the memory computes in at least f32 whatever the kind.
    pub fn set_kind(&mut self, kind: Kind) {
        self.variables.set_kind(kind);
    }

    /// Chooses what [`Network::forward_training`] computes in; f32 at first. With bf16,
    /// convolutions, their activations and gradients are bf16, from copies of the weights made in
    /// every step; the weights, BatchNorm's statistics, the memory and losses stay f32, so that a
    /// step too small for bf16's 8 bits is not lost.
    ///
    /// # Errors
    /// When the device cannot compute it.
    pub fn set_training_precision(&mut self, precision: Precision) -> Result<()> {
        self.training_precision = settled_on(precision, self.device())?;
        Ok(())
    }

    /// What [`Network::forward_training`] computes in: f32 or bf16.
    pub fn training_precision(&self) -> Precision {
        self.training_precision
    }

    /// With `true`, [`Network::forward_training`] normalises with BatchNorm's stored statistics, as
    /// scoring does, and leaves them as they are; BatchNorm's weights learn on. At first it uses
    /// the batch's own, and the stored ones follow.
    ///
    /// A batch's own statistics bound what a rare pattern can grow to, and the stored ones do not.
    /// A network that never trained with those may score normal frames as abnormal.
    pub fn freeze_norm(&mut self, frozen: bool) {
        self.frozen_norm = frozen;
    }

    /// What the optimiser trains, ordered by name.
    pub fn trainable_parameters(&self) -> Vec<NamedTensor> {
        self.named(|name| !self.is_buffer(name))
    }

    /// What the network remembers besides: BatchNorm's running statistics and the memory items,
    /// ordered by name.
    pub fn buffers(&self) -> Vec<NamedTensor> {
        self.named(|name| self.is_buffer(name))
    }

    /// Parameters and buffers by name.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        self.variables.variables().into_iter().collect()
    }

    /// What training needs to go on beside [`Network::tensors`]: the running sums and counts of a
    /// memory of running means.
    pub fn training_buffers(&self) -> Vec<NamedTensor> {
        self.memory.as_ref().map(Memory::training_buffers).unwrap_or_default()
    }

    /// After the stored items were overwritten.
    pub(crate) fn start_from_items(&mut self) -> Result<()> {
        self.memory.as_mut().map_or(Ok(()), Memory::start_from_items)
    }

    fn named(&self, wanted: impl Fn(&str) -> bool) -> Vec<NamedTensor> {
        let tensors = self.tensors().into_iter();
        tensors
            .filter(|(name, _)| wanted(name))
            .map(|(name, tensor)| NamedTensor { name, tensor })
            .collect()
    }

    fn is_buffer(&self, name: &str) -> bool {
        let learned = |memory: &Memory| memory.config().gradient == MemoryGradient::Param;
        let frozen_items = name == MEMORY_ITEMS && !self.memory.as_ref().is_some_and(learned);
        frozen_items || name == MEMORY_SCALE || name.contains(".running_")
    }

    /// The forward pass of a training step: batch statistics unless [frozen](Self::freeze_norm),
    /// `M'` formed and read, both decoders. The stored memory changes only in [`Network::commit_memory`].
    /// Sped-up companions are encoded, and held against the items that the clips read; nothing is
    /// predicted of them and no item follows them.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn forward_training(&self, batch: &Batch) -> Result<TrainingPass> {
        let mode = if self.frozen_norm { Mode::Inference } else { Mode::Training };
        let input = self.training_input(&batch.input)?;
        let sped_up = batch.sped_up.as_ref().filter(|_| self.reads_memory());
        let sped_up = sped_up.map(|clips| self.training_input(&clips.input)).transpose()?;
        let (Encoding { z, skips }, z_of_sped_up) =
            self.encoder.forward_beside(&input, sped_up.as_ref(), mode)?;
        let memory = match &self.memory {
            Some(memory) => memory.train(&z)?,
            None => None,
        };
        let z_hat = match &memory {
            Some(pass) => pass.z_hat(&z)?,
            None => self.pass_by_memory(&z)?,
        };
        let prediction = self.prediction.predict(&z_hat, &skips, mode)?;
        let motion = self.motion.as_ref().map(|it| self.generate(it, &z_hat, mode)).transpose()?;
        let sped_up = match (&self.memory, &memory, z_of_sped_up) {
            (Some(memory), Some(pass), Some(z)) => Some(memory.read_beside(&z, pass)?),
            _ => None,
        };
        Ok(TrainingPass { prediction, motion, z, memory, sped_up })
    }

    /// Whether a training step reads the memory: there is one, and its warm-up is over.
    fn reads_memory(&self) -> bool {
        self.memory.as_ref().is_some_and(|memory| !memory.is_warming())
    }

    fn generate(&self, motion: &Decoder, z_hat: &Tensor, mode: Mode) -> Result<MotionMaps> {
        MotionMaps::of(self.config.motion_target, &motion.generate(z_hat, mode)?)
    }

    /// Layers compute in the kind of what they are given, so that the first decides.
    fn training_input(&self, input: &Tensor) -> Result<Tensor> {
        match self.training_precision {
            Precision::Bf16 => Ok(input.f_to_kind(Kind::BFloat16)?),
            _ => Ok(input.shallow_clone()),
        }
    }

    /// Stores the memory that `pass` formed, once the optimiser has stepped. With
    /// [`MemoryGradient::Param`] it puts the items back on the unit sphere instead.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn commit_memory(&mut self, pass: &TrainingPass) -> Result<()> {
        match &mut self.memory {
            Some(memory) => memory.commit(&pass.z, pass.memory.as_ref()),
            None => Ok(()),
        }
    }

    /// What decoders read where there is no memory, or none yet.
    fn pass_by_memory(&self, z: &Tensor) -> Result<Tensor> {
        match &self.memory {
            Some(memory) => memory.pass_by(z),
            None => normalized_bottleneck(z),
        }
    }

    /// The forward pass with stored statistics and a frozen memory, as training watches its
    /// held-out clips. Scoring runs the faster [`crate::InferenceGraph`], which this checks.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn forward_inference(&self, input: &Tensor, with_motion: bool) -> Result<InferencePass> {
        let Encoding { z, skips } = self.encode(input)?;
        let Recollection { z_hat, memory } = self.recall(&z)?;
        let motion = self.motion.as_ref().filter(|_| with_motion);
        tch::no_grad(|| {
            let prediction = self.prediction.predict(&z_hat, &skips, Mode::Inference)?;
            let generate = |motion: &Decoder| self.generate(motion, &z_hat, Mode::Inference);
            Ok(InferencePass { prediction, motion: motion.map(generate).transpose()?, memory })
        })
    }

    /// The first stage: the encoder on `[B, 3t, S, S]`.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn encode(&self, input: &Tensor) -> Result<Encoding> {
        tch::no_grad(|| self.encoder.forward(input, Mode::Inference))
    }

    /// The second stage: `z_hat` of the bottleneck, from the frozen memory, or the queries
    /// themselves before a memory of running means [has started](Memory::has_started).
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn recall(&self, z: &Tensor) -> Result<Recollection> {
        tch::no_grad(|| {
            let started = self.memory.as_ref().filter(|memory| memory.has_started());
            let Some(memory) = started else {
                return Ok(Recollection { z_hat: self.pass_by_memory(z)?, memory: None });
            };
            let pass = memory.read(z)?;
            Ok(Recollection { z_hat: pass.z_hat(z)?, memory: Some(pass) })
        })
    }
}
