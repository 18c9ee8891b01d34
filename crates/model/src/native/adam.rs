//! Adam in one pass over memory.

use std::ffi::c_char;

use tch::Tensor;
use torch_sys::C_tensor;

use super::checked;
use crate::Result;

unsafe extern "C" {
    fn pg_forget_gradients(parameters: *const *const C_tensor, count: usize) -> *mut c_char;
    fn pg_fused_adam(
        tensors: *const RawAdamTensors,
        constants: *const AdamConstants,
    ) -> *mut c_char;
}

/// The constants of Adam (Kingma and Ba, 2015).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConstants {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Keeps the denominator from zero.
    pub epsilon: f64,
}

/// What a step of Adam reads and writes, one entry a parameter in each list.
#[derive(Debug)]
pub struct AdamTensors<'a> {
    /// Moved.
    pub parameters: &'a [Tensor],
    /// Read.
    pub gradients: &'a [Tensor],
    /// Moved.
    pub first_moments: &'a [Tensor],
    /// Moved.
    pub second_moments: &'a [Tensor],
    /// Steps taken including this one: one f32 scalar a parameter.
    pub steps: &'a [Tensor],
}

#[repr(C)]
struct RawAdamTensors {
    parameters: *const *const C_tensor,
    gradients: *const *const C_tensor,
    first_moments: *const *const C_tensor,
    second_moments: *const *const C_tensor,
    steps: *const *const C_tensor,
    count: usize,
}

/// Leaves parameters without gradients, for the next backward pass to put its own there.
///
/// # Errors
/// When one takes no gradient.
pub fn forget_gradients(parameters: &[&Tensor]) -> Result<()> {
    let pointers: Vec<_> = parameters.iter().map(|parameter| parameter.as_ptr()).collect();
    // SAFETY: the tensors outlive the call, and there are as many as it is told.
    checked(unsafe { pg_forget_gradients(pointers.as_ptr(), pointers.len()) })
}

/// One step of Adam over all parameters in one pass over memory (libtorch's `_fused_adam_`).
///
/// # Errors
/// When libtorch refuses, for lists of different devices for instance.
///
/// # Panics
/// When the lists differ in length.
pub fn fused_adam(tensors: &AdamTensors<'_>, constants: &AdamConstants) -> Result<()> {
    let count = tensors.parameters.len();
    let pointers = |list: &[Tensor]| -> Vec<*const C_tensor> {
        assert_eq!(list.len(), count, "one entry a parameter is needed in every list");
        list.iter().map(Tensor::as_ptr).collect()
    };
    let (parameters, gradients) = (pointers(tensors.parameters), pointers(tensors.gradients));
    let first_moments = pointers(tensors.first_moments);
    let second_moments = pointers(tensors.second_moments);
    let steps = pointers(tensors.steps);
    let raw = RawAdamTensors {
        parameters: parameters.as_ptr(),
        gradients: gradients.as_ptr(),
        first_moments: first_moments.as_ptr(),
        second_moments: second_moments.as_ptr(),
        steps: steps.as_ptr(),
        count,
    };
    // SAFETY: every list has `count` pointers to tensors that outlive the call.
    checked(unsafe { pg_fused_adam(&raw, constants) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fused_adam_follows_the_published_update() {
        let parameter = Tensor::from_slice(&[1.0f32]);
        let (first, second) = (Tensor::from_slice(&[0.0f32]), Tensor::from_slice(&[0.0f32]));
        let step = Tensor::from(1.0f32);
        let tensors = AdamTensors {
            parameters: std::slice::from_ref(&parameter),
            gradients: &[Tensor::from_slice(&[0.5f32])],
            first_moments: std::slice::from_ref(&first),
            second_moments: std::slice::from_ref(&second),
            steps: std::slice::from_ref(&step),
        };
        let constants =
            AdamConstants { learning_rate: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
        fused_adam(&tensors, &constants).unwrap();
        // The first step moves by the learning rate against the gradient's sign.
        assert!((parameter.double_value(&[0]) - 0.9).abs() < 1e-6);
        assert!((first.double_value(&[0]) - 0.05).abs() < 1e-7);
    }
}
