//! Convolutions of oneDNN on weights that are laid out for it once, with what follows them in the
//! same pass over memory.

use std::ffi::{CStr, c_char};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::call::{RawFault, checked, made, pointer};
use crate::error::Result;

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
    fn pg_bf16_convolutions(supported: *mut bool) -> RawFault;
}

/// What follows a convolution in the same pass over memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// `max(x, 0)`
    Relu,
    /// `tanh(x)`
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
///
/// # Errors
/// When kinds, sizes or devices do not go together, or memory does not suffice.
pub fn pack_convolution(weight: &Tensor, input_size: [i64; 4]) -> Result<Tensor> {
    // SAFETY: the tensor outlives the call, and the size has the four numbers that are read.
    made(|out| unsafe { pg_pack_convolution(weight.as_ptr(), input_size.as_ptr(), out) })
}

/// The same for an up-convolution (stride 2, output padding 1).
///
/// # Errors
/// As [`pack_convolution`].
pub fn pack_up_convolution(weight: &Tensor, input_size: [i64; 4]) -> Result<Tensor> {
    // SAFETY: as above.
    made(|out| unsafe { pg_pack_up_convolution(weight.as_ptr(), input_size.as_ptr(), out) })
}

/// A 3×3 convolution of stride 1 and padding 1 with packed weights.
///
/// # Errors
/// As [`pack_convolution`].
pub fn convolution(
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
///
/// # Errors
/// As [`pack_convolution`].
pub fn up_convolution(
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
///
/// # Errors
/// As [`pack_convolution`].
pub fn convolution_into(
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

/// Whether libtorch's convolutions take bf16 on this processor.
///
/// # Errors
/// When libtorch cannot be asked.
pub fn takes_bf16() -> Result<bool> {
    let mut supported = false;
    // SAFETY: the flag outlives the call.
    checked(unsafe { pg_bf16_convolutions(&mut supported) })?;
    Ok(supported)
}

#[cfg(test)]
pub(crate) mod tests {
    use tch::{Device, Kind};

    use super::*;

    pub(crate) fn random(size: &[i64]) -> Tensor {
        Tensor::randn(size, (Kind::Float, Device::Cpu))
    }

    pub(crate) fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
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
}
