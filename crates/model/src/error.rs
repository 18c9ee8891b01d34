use tch::TchError;

use crate::checkpoint::CheckpointError;
use crate::config::ConfigError;
use crate::device::DeviceError;
use crate::native::fault::Fault;
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
    Precision(#[from] PrecisionError),
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
    /// libtorch refused an operation.
    #[error("libtorch: {reason}")]
    Torch {
        /// The first line of its message; the rest is a C++ stack trace.
        reason: String,
    },
    /// A function of this crate's own C++ failed, or libtorch in it.
    #[error("libtorch: {reason}")]
    Native {
        /// What kind of fault.
        fault: Fault,
        /// The first line of its message.
        reason: String,
    },
}

impl From<TchError> for ModelError {
    fn from(error: TchError) -> Self {
        let message = match error {
            TchError::Torch(message) => message,
            other => other.to_string(),
        };
        Self::Torch { reason: first_line(&message) }
    }
}

/// What a message says before its stack trace.
pub(crate) fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim().to_owned()
}

/// The result of an operation of this room.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_without_a_stack_trace() {
        let error = tch::Tensor::from_slice(&[1.0f32]).f_matmul(&tch::Tensor::from_slice(&[1i64]));
        let message = ModelError::from(error.unwrap_err()).to_string();
        assert!(message.starts_with("libtorch: ") && !message.contains('\n'), "{message}");
    }
}
