//! How tensors lie in memory.

use tch::Tensor;
use torch_sys::C_tensor;

use crate::call::{RawFault, made};
use crate::error::Result;

unsafe extern "C" {
    fn pg_layout(packed: *const C_tensor, layout: *mut *mut C_tensor) -> RawFault;
}

/// The same values with channels last in storage, as batches and activations are: the CPU's
/// convolutions would otherwise lay them out anew in every pass, forward and backward.
///
/// # Errors
/// When it has other than four dimensions, or memory does not suffice.
pub fn channels_last(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])?)
}

/// How packed weights lie in memory: bytes that are equal where the layouts are.
///
/// # Errors
/// When it is not packed.
pub fn of_packed(packed: &Tensor) -> Result<Vec<u8>> {
    // SAFETY: the tensor outlives the call.
    let layout = made(|out| unsafe { pg_layout(packed.as_ptr(), out) })?;
    Ok(Vec::try_from(layout)?)
}
