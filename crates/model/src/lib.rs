//! The network, its memory and losses, checkpoints, and the [`protoguard_core::Scorer`] that runs
//! them, on libtorch.
//!
//! [`Batch`] turns clips into tensors; [`Network`] is the encoder, the [`Memory`] and both
//! decoders; [`losses`] and [`scores`] judge what it makes; [`Checkpoint`] is a trained network as
//! plain bytes; [`TchScorerFactory`] makes replicas of one for the service's workers.
//!
//! A training step is
//! ```text
//! let batch = Batch::from_clips(&clips, device)?;
//! let pass = network.forward_training(&batch)?;
//! let terms = losses::compute(&loss, &batch, &pass)?;
//! optimizer.backward_step(&terms.total);
//! network.commit_memory(&pass)?;
//! ```
//!
//! Deliberately absent: optimisers, loops over data, and anything that knows of requests. A tensor
//! leaves this room only towards the trainer.

mod batch;
pub mod checkpoint;
mod config;
mod decoder;
mod device;
mod encoder;
mod error;
mod health;
mod layer;
pub mod losses;
mod memory;
mod network;
mod plan;
mod scatter;
mod score_batch;
mod scorer;
pub mod scores;
mod training_precision;
mod weights;

pub use batch::Batch;
pub use checkpoint::{Checkpoint, CheckpointError};
pub use config::{
    ConfigError, LossConfig, MemoryConfig, MemoryGradient, ModelConfig, ReconstructionLoss,
    UpdateScope, Within,
};
pub use device::{DeviceError, DeviceSpec};
pub use encoder::Encoding;
pub use error::{ModelError, Result};
pub use health::{HealthMeter, HealthSums, MIN_BETWEEN_TRACE, MIN_PERPLEXITY, MemoryHealth};
pub use losses::{LossTerms, StepLosses};
pub use memory::{Memory, MemoryPass};
pub use network::{InferencePass, NamedTensor, Network, Recollection, TrainingPass};
pub use scatter::Scatter;
pub use score_batch::score_batch;
pub use scorer::{ScorerOptions, TchScorer, TchScorerFactory, record_golden};
pub use training_precision::TrainingPrecision;
pub use weights::{from_array, to_array};
