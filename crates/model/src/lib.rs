//! The network, its memory and losses, and the [`protoguard_core::Scorer`] that runs them, on
//! libtorch.
//!
//! [`Batch`] turns clips into tensors; [`Network`] is the encoder, the [`Memory`] and both
//! decoders; [`losses`] and [`scores`] judge what it makes; [`InferenceGraph`] is the same network as
//! it is served; [`TchScorerFactory`] makes replicas of a [`protoguard_checkpoint::Checkpoint`] for
//! the service's workers.
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
//! Deliberately absent: files and their format (`protoguard_checkpoint`), calls into C++
//! (`protoguard_kernels`), optimisers, loops over data, and anything that knows of requests. A tensor
//! leaves this room only towards the trainer.

mod arrays;
mod batch;
mod decoder;
mod device;
mod encoder;
mod error;
pub mod flow;
mod graph;
mod health;
mod layer;
pub mod losses;
mod maps;
mod memory;
mod motion;
mod named_tensor;
mod network;
pub mod precision;
mod prepared;
mod ranges;
mod scatter;
mod score_batch;
mod scorer;
pub mod scores;
mod weights;

pub use arrays::{from_array, overwrite, to_array};
pub use batch::Batch;
pub use device::{DeviceError, DeviceSpec};
pub use encoder::Encoding;
pub use error::{ModelError, Result};
pub use graph::InferenceGraph;
pub use health::{HealthMeter, HealthSums};
pub use losses::{LossTerms, StepLosses};
pub use memory::{Memory, MemoryPass};
pub use motion::MotionMaps;
pub use named_tensor::NamedTensor;
pub use network::{InferencePass, Network, Recollection, TrainingPass};
pub use ranges::measure_ranges;
pub use scatter::Scatter;
pub use scorer::{ScorerOptions, TchScorer, TchScorerFactory, record_golden};
