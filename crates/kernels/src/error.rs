//! What a call into libtorch or into the C++ of this room failed with.

use tch::TchError;

use crate::processor::LimitError;

/// Why something of libtorch or of our own C++ could not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// libtorch refused an operation.
    #[error("libtorch: {reason}")]
    Torch {
        /// The first line of its message; the rest is a C++ stack trace.
        reason: String,
    },
    /// A function of our own C++ failed, or libtorch in it.
    #[error("libtorch: {reason}")]
    Native {
        /// What kind of fault.
        fault: Fault,
        /// The first line of its message.
        reason: String,
    },
    /// The environment limits the processor to something that is no set of instructions.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

/// What can be done about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Arguments that do not go together, or that libtorch does not take.
    Refused,
    /// Memory of the host or of a GPU did not suffice.
    OutOfMemory,
    /// A GPU's driver failed, and what it held is gone.
    DeviceLost,
}

impl From<TchError> for KernelError {
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
pub type Result<T, E = KernelError> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_without_a_stack_trace() {
        let error = tch::Tensor::from_slice(&[1.0f32]).f_matmul(&tch::Tensor::from_slice(&[1i64]));
        let message = KernelError::from(error.unwrap_err()).to_string();
        assert!(message.starts_with("libtorch: ") && !message.contains('\n'), "{message}");
    }
}
