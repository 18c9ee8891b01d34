//! Switches of libtorch that hold for the whole process.

use crate::call::{RawFault, checked};
use crate::error::Result;

unsafe extern "C" {
    fn pg_allow_tf32(allowed: bool) -> RawFault;
    fn pg_deterministic(only: bool) -> RawFault;
}

/// Whether convolutions and matrix products of GPUs may use TF32, from here on in this process.
///
/// # Errors
/// When libtorch refuses.
pub fn allow_tf32(allowed: bool) -> Result<()> {
    // SAFETY: no pointers.
    checked(unsafe { pg_allow_tf32(allowed) })
}

/// Whether operations without a deterministic form are refused, from here on in this process.
///
/// # Errors
/// When libtorch refuses.
pub fn set_deterministic(only: bool) -> Result<()> {
    // SAFETY: no pointers.
    checked(unsafe { pg_deterministic(only) })
}
