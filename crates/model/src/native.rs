//! What libtorch has and tch does not bind, behind safe functions: `native/torch_extras.cpp`, of
//! which little is more than a call; Winograd's convolutions, `native/convolve.cpp`; up-convolutions
//! of bytes, `native/up_bytes.cpp`; and an allocator for the CPU, `native/host_memory.cpp`.
//!
//! Small C++ files instead of a fork of tch.
#![allow(unsafe_code, reason = "the one place where this crate calls C++")]

pub(crate) mod adam;
pub(crate) mod fault;
pub(crate) mod quantized;
pub(crate) mod transfer;
pub(crate) mod winograd;

use std::ffi::{CStr, c_char};
use std::ptr;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::Result;
use fault::{RawFault, checked};

unsafe extern "C" {
    fn pg_pack_convolution(
        weight: *const C_tensor,
        input_size: *const i64,
        packed: *mut *mut C_tensor,
    ) -> RawFault;
    fn pg_pack_up_convolution(
        weight: *const C_tensor,
        input_size: *const i64,
        packed: *mut *mut C_tensor,
    ) -> RawFault;
    fn pg_layout(packed: *const C_tensor, layout: *mut *mut C_tensor) -> RawFault;
    fn pg_convolution(
        input: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        activation: *const c_char,
        output: *mut *mut C_tensor,
    ) -> RawFault;
    fn pg_up_convolution(
        input: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        activation: *const c_char,
        output: *mut *mut C_tensor,
    ) -> RawFault;
    fn pg_convolution_into(
        sum: *mut C_tensor,
        input: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
    ) -> RawFault;
    fn pg_autocast_cpu(enabled: *mut bool) -> RawFault;
    fn pg_allow_tf32(allowed: bool) -> RawFault;
    fn pg_deterministic(only: bool) -> RawFault;
    fn pg_empty_cache() -> RawFault;
    fn pg_keep_host_memory() -> RawFault;
    fn pg_release_host_memory() -> RawFault;
    fn pg_bf16_convolutions(supported: *mut bool) -> RawFault;
}

/// What follows a convolution in the same pass over memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    None,
    Relu,
    Tanh,
}

impl Activation {
    fn name(self) -> &'static CStr {
        match self {
            Self::None => c"none",
            Self::Relu => c"relu",
            Self::Tanh => c"tanh",
        }
    }
}

/// A 3×3 convolution's weights on the CPU, laid out for inputs of one size.
pub(crate) fn pack_convolution(weight: &Tensor, input_size: [i64; 4]) -> Result<Tensor> {
    // SAFETY: the tensor outlives the call, and the size has the four numbers that are read.
    made(|out| unsafe { pg_pack_convolution(weight.as_ptr(), input_size.as_ptr(), out) })
}

/// The same for an up-convolution (stride 2, output padding 1).
pub(crate) fn pack_up_convolution(weight: &Tensor, input_size: [i64; 4]) -> Result<Tensor> {
    // SAFETY: as above.
    made(|out| unsafe { pg_pack_up_convolution(weight.as_ptr(), input_size.as_ptr(), out) })
}

/// How packed weights lie in memory: bytes that are equal where the layouts are.
pub(crate) fn layout(packed: &Tensor) -> Result<Vec<u8>> {
    // SAFETY: the tensor outlives the call.
    let layout = made(|out| unsafe { pg_layout(packed.as_ptr(), out) })?;
    Ok(Vec::try_from(layout)?)
}

/// A 3×3 convolution of stride 1 and padding 1 with packed weights.
pub(crate) fn convolution(
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
) -> Result<Tensor> {
    let (bias, name) = (pointer(bias), activation.name().as_ptr());
    // SAFETY: tensors and the name outlive the call; an absent bias is null.
    made(|out| unsafe { pg_convolution(input.as_ptr(), weight.as_ptr(), bias, name, out) })
}

/// A 3×3 up-convolution of stride 2, padding 1 and output padding 1 with packed weights.
pub(crate) fn up_convolution(
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
) -> Result<Tensor> {
    let (bias, name) = (pointer(bias), activation.name().as_ptr());
    // SAFETY: as above.
    made(|out| unsafe { pg_up_convolution(input.as_ptr(), weight.as_ptr(), bias, name, out) })
}

/// `sum = relu(sum + convolution(input))`, in place.
pub(crate) fn convolution_into(
    sum: &mut Tensor,
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<()> {
    // SAFETY: as above; `sum` is borrowed for the call alone.
    checked(unsafe {
        pg_convolution_into(sum.as_mut_ptr(), input.as_ptr(), weight.as_ptr(), pointer(bias))
    })
}

/// While this lives, this thread's convolutions and matrix products on the CPU run in bf16 on
/// inputs of any floating-point kind; reductions, softmax and losses stay f32.
///
/// Dropping it, after the forward pass and before the backward one, restores what was before.
#[derive(Debug)]
#[must_use = "dropping it ends the mixed precision"]
pub struct Bf16Autocast {
    before: bool,
}

impl Bf16Autocast {
    /// Begins.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn begin() -> Result<Self> {
        set_autocast(true).map(|before| Self { before })
    }
}

impl Drop for Bf16Autocast {
    fn drop(&mut self) {
        // It was possible at the beginning; there is nobody to tell here.
        let _ = set_autocast(self.before);
    }
}

fn set_autocast(enabled: bool) -> Result<bool> {
    let mut state = enabled;
    // SAFETY: the flag outlives the call.
    checked(unsafe { pg_autocast_cpu(&mut state) })?;
    Ok(state)
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

/// Gives a GPU's cached memory back to its driver, where there is one, and freed memory of the host
/// to the system.
///
/// # Errors
/// When the device is lost.
pub fn empty_cache() -> Result<()> {
    // SAFETY: no pointers.
    checked(unsafe { pg_release_host_memory() })?;
    // SAFETY: no pointers.
    checked(unsafe { pg_empty_cache() })
}

/// From here on in this process, large tensors on the CPU take blocks that earlier ones have left,
/// in huge pages where the kernel has them. The first call counts; call it before the first tensor.
///
/// glibc maps every large block anew, and its pages cost more than many a layer that fills them.
/// At most a tenth more than was ever in use is held.
///
/// # Errors
/// When there is no memory for the allocator itself.
pub fn keep_host_memory() -> Result<()> {
    // SAFETY: no pointers.
    checked(unsafe { pg_keep_host_memory() })
}

/// Whether libtorch's convolutions take bf16 on this processor.
pub(crate) fn takes_bf16() -> Result<bool> {
    let mut supported = false;
    // SAFETY: the flag outlives the call.
    checked(unsafe { pg_bf16_convolutions(&mut supported) })?;
    Ok(supported)
}

fn pointer(tensor: Option<&Tensor>) -> *const C_tensor {
    tensor.map_or(ptr::null(), Tensor::as_ptr)
}

fn made(call: impl FnOnce(*mut *mut C_tensor) -> RawFault) -> Result<Tensor> {
    let mut output = ptr::null_mut();
    checked(call(&mut output))?;
    // SAFETY: without a fault the call has put a new tensor there, which nobody else owns.
    Ok(unsafe { Tensor::from_ptr(output) })
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    pub(super) fn random(size: &[i64]) -> Tensor {
        Tensor::randn(size, (Kind::Float, Device::Cpu))
    }

    pub(super) fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn packed_convolutions_are_convolutions() {
        let (x, weight, bias) = (random(&[2, 5, 9, 7]), random(&[6, 5, 3, 3]), random(&[6]));
        let plain = x.conv2d(&weight, Some(&bias), [1, 1], [1, 1], [1, 1], 1);
        let packed = pack_convolution(&weight, [1, 5, 9, 7]).unwrap();
        for (activation, expected) in [
            (Activation::None, plain.shallow_clone()),
            (Activation::Relu, plain.relu()),
            (Activation::Tanh, plain.tanh()),
        ] {
            let found = convolution(&x, &packed, Some(&bias), activation).unwrap();
            assert!(largest_difference(&found, &expected) < 1e-4, "{activation:?}");
        }
        let other = random(&[2, 6, 9, 7]);
        let mut sum = other.copy();
        convolution_into(&mut sum, &x, &packed, Some(&bias)).unwrap();
        assert!(largest_difference(&sum, &(other + plain).relu()) < 1e-4);
    }

    #[test]
    fn packed_up_convolutions_are_up_convolutions() {
        let (x, weight, bias) = (random(&[2, 6, 5, 4]), random(&[6, 3, 3, 3]), random(&[3]));
        let plain =
            x.conv_transpose2d(&weight, Some(&bias), [2, 2], [1, 1], [1, 1], 1, [1, 1]).relu();
        let packed = pack_up_convolution(&weight, [1, 6, 5, 4]).unwrap();
        let found = up_convolution(&x, &packed, Some(&bias), Activation::Relu).unwrap();
        assert_eq!(found.size(), [2, 3, 10, 8]);
        assert!(largest_difference(&found, &plain) < 1e-4);
    }

    #[test]
    fn what_libtorch_refuses_is_a_message_of_one_line() {
        let weight = pack_convolution(&random(&[6, 5, 3, 3]), [1, 5, 8, 8]).unwrap();
        let error = convolution(&random(&[1, 4, 8, 8]), &weight, None, Activation::None);
        let message = error.unwrap_err().to_string();
        assert!(message.starts_with("libtorch: ") && !message.contains('\n'), "{message}");
    }

    #[test]
    fn large_tensors_take_the_place_of_earlier_ones() {
        keep_host_memory().unwrap();
        keep_host_memory().unwrap();
        let large = |mib: i64| Tensor::zeros([mib << 20], (Kind::Uint8, Device::Cpu));
        let first = large(64);
        let place = first.data_ptr();
        drop(first);
        let second = large(63);
        assert_eq!(second.data_ptr(), place, "a block that fits is used again");
        assert_eq!(second.sum(Kind::Int64).int64_value(&[]), 0);
        let other = large(63);
        assert_ne!(other.data_ptr(), place, "a block in use is not");
        drop((second, other));
        empty_cache().unwrap();
        assert_eq!(large(64).sum(Kind::Int64).int64_value(&[]), 0);
    }

    #[test]
    fn autocast_ends_with_its_guard() {
        let product = || random(&[4, 4]).matmul(&random(&[4, 4])).kind();
        {
            let _bf16 = Bf16Autocast::begin().unwrap();
            assert_eq!(product(), Kind::BFloat16);
        }
        assert_eq!(product(), Kind::Float);
    }
}
