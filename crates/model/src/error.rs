//! What can go wrong in this crate, by what failed.

use protoguard_checkpoint::CheckpointError;
use protoguard_checkpoint::ConfigError;
use protoguard_kernels::KernelError;
use tch::TchError;

use crate::device::DeviceError;
use crate::precision::PrecisionError;

/// What can go wrong in this room.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// A configuration that no network can be built from.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A checkpoint that cannot be written, read or used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A precision that cannot be had.
    #[error(transparent)]
    Precision(PrecisionError),
    /// A device that is not there.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Clips that do not go together in one batch.
    #[error("{field} of clip {index} is {found}; {expected} is expected")]
    Batch {
        /// What disagrees.
        field: &'static str,
        /// Position of the clip in the batch.
        index: usize,
        /// What came.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A batch without clips where there must be one.
    #[error("batch has 0 clips; at least 1 is expected")]
    EmptyBatch,
    /// libtorch refused an operation, or our own C++ did.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl From<TchError> for ModelError {
    fn from(error: TchError) -> Self {
        Self::Kernel(error.into())
    }
}

impl From<PrecisionError> for ModelError {
    /// What trying the processor failed with is told as any other fault of libtorch.
    fn from(error: PrecisionError) -> Self {
        match error {
            PrecisionError::Kernel(error) => Self::Kernel(error),
            other => Self::Precision(other),
        }
    }
}

/// The result of an operation of this room.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;
