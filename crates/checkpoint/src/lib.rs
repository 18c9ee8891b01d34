//! A trained network as one file of plain bytes, and what it was built from as plain data.
//!
//! [`Checkpoint::read`] reads a file and checks all of it, [`Checkpoint::new`] checks what a training
//! made, and [`Checkpoint::write`] writes it whole or not at all:
//! ```no_run
//! # fn main() -> Result<(), protoguard_checkpoint::CheckpointError> {
//! let checkpoint = protoguard_checkpoint::Checkpoint::read("hall.safetensors")?;
//! println!("{}: {} pixels", checkpoint.version(), checkpoint.content().model.shape.side());
//! # Ok(())
//! # }
//! ```
//! [`ModelConfig`] is the architecture, [`plan`] the layers and arrays that follow from it, and
//! [`LossConfig`] what it is trained for. [`ArrayFile`] is the same kind of file with other content.
//!
//! The file is safetensors: a JSON header and raw arrays, no pickle and no code. The header's
//! `__metadata__` has one entry, `protoguard`, itself JSON:
//! ```text
//! { "format_version": 3, "content_hash": "<sha256>", "content": {
//!     "model": …, "preprocessing": …, "training": …, "calibrations": …, "golden": … } }
//! ```
//! Arrays are the network's by their paths, `golden.clip`, what int8 makes its steps of under
//! `activation_ranges.` (since format 2), and the optimiser's state under `optimizer.`. Calibrations
//! have a detector since format 3. The hash covers the text of `content` and every array. The same
//! content makes the same file, byte for byte.
//!
//! A [`Checkpoint`] holds no tensor, so that worker threads can share one; and it cannot be had
//! without passing the checks.
//!
//! Deliberately absent: libtorch. What a device can compute, and turning arrays into tensors, is the
//! model's.

mod array;
mod array_file;
mod checkpoint;
mod config;
mod content;
mod error;
mod format;
mod golden;
mod hash;
mod health;
mod metadata;
pub mod plan;
mod precision;
mod ranges;
mod read;
mod validate;
mod write;

pub use array::{Array, Dtype};
pub use array_file::ArrayFile;
pub use checkpoint::Checkpoint;
pub use config::{
    ConfigError, EmaConfig, LossConfig, MemoryConfig, MemoryGradient, MemoryUpdate, ModelConfig,
    MotionTarget, ReconstructionLoss, UpdateScope, Within,
};
pub use content::CheckpointContent;
pub use error::CheckpointError;
pub use format::{FORMAT_VERSION, TEMPORARY_SUFFIX, temporary_prefix};
pub use golden::Golden;
pub use health::{MIN_BETWEEN_TRACE, MIN_PERPLEXITY, MemoryHealth};
pub use metadata::{GoldenScores, HeldOut, Preprocessing, SCALING, TrainingRecord};
pub use precision::{Precision, UnknownPrecision};
pub use ranges::ActivationRanges;
