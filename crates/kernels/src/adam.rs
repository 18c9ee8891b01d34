//! Adam in one pass over memory.

use std::mem::{offset_of, size_of};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::call::{RawFault, checked};
use crate::error::Result;

unsafe extern "C" {
    fn pg_forget_gradients(parameters: *const *mut C_tensor, count: usize) -> RawFault;
    fn pg_fused_adam(tensors: *const RawAdamTensors, constants: *const AdamConstants) -> RawFault;
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
    pub parameters: &'a mut [Tensor],
    /// Read.
    pub gradients: &'a [Tensor],
    /// Moved.
    pub first_moments: &'a mut [Tensor],
    /// Moved.
    pub second_moments: &'a mut [Tensor],
    /// Steps taken including this one: one f32 scalar a parameter.
    pub steps: &'a [Tensor],
}

#[repr(C)]
struct RawAdamTensors {
    parameters: *const *mut C_tensor,
    gradients: *const *const C_tensor,
    first_moments: *const *mut C_tensor,
    second_moments: *const *mut C_tensor,
    steps: *const *const C_tensor,
    count: usize,
}

/// Leaves parameters without gradients, for the next backward pass to put its own there.
///
/// # Errors
/// When one takes no gradient.
pub fn forget_gradients(parameters: &mut [&mut Tensor]) -> Result<()> {
    let pointers: Vec<_> = parameters.iter_mut().map(|parameter| parameter.as_mut_ptr()).collect();
    // SAFETY: the tensors are borrowed for the call alone, and there are as many as it is told. It
    // lets go of their gradients; who holds one as a tensor of its own keeps it alive.
    checked(unsafe { pg_forget_gradients(pointers.as_ptr(), pointers.len()) })
}

const _: () = {
    assert!(size_of::<AdamConstants>() == 32);
    assert!(offset_of!(AdamConstants, learning_rate) == 0 && offset_of!(AdamConstants, beta1) == 8);
    assert!(offset_of!(AdamConstants, beta2) == 16 && offset_of!(AdamConstants, epsilon) == 24);
    assert!(size_of::<RawAdamTensors>() == 48);
    assert!(offset_of!(RawAdamTensors, parameters) == 0);
    assert!(offset_of!(RawAdamTensors, gradients) == 8);
    assert!(offset_of!(RawAdamTensors, first_moments) == 16);
    assert!(offset_of!(RawAdamTensors, second_moments) == 24);
    assert!(offset_of!(RawAdamTensors, steps) == 32 && offset_of!(RawAdamTensors, count) == 40);
};

/// One step of Adam over all parameters in one pass over memory (libtorch's `_fused_adam_`).
///
/// # Errors
/// When tensors of a parameter differ in size, kind, device or layout, or libtorch refuses.
///
/// # Panics
/// When the lists differ in length.
pub fn fused_adam(tensors: AdamTensors<'_>, constants: &AdamConstants) -> Result<()> {
    let count = tensors.parameters.len();
    let pointers = |list: &[Tensor]| -> Vec<*const C_tensor> {
        assert_eq!(list.len(), count, "one entry a parameter is needed in every list");
        list.iter().map(Tensor::as_ptr).collect()
    };
    let moved = |list: &mut [Tensor]| -> Vec<*mut C_tensor> {
        assert_eq!(list.len(), count, "one entry a parameter is needed in every list");
        list.iter_mut().map(Tensor::as_mut_ptr).collect()
    };
    let (gradients, steps) = (pointers(tensors.gradients), pointers(tensors.steps));
    let parameters = moved(tensors.parameters);
    let first_moments = moved(tensors.first_moments);
    let second_moments = moved(tensors.second_moments);
    let raw = RawAdamTensors {
        parameters: parameters.as_ptr(),
        gradients: gradients.as_ptr(),
        first_moments: first_moments.as_ptr(),
        second_moments: second_moments.as_ptr(),
        steps: steps.as_ptr(),
        count,
    };
    // SAFETY: every list has `count` pointers to tensors that outlive the call, and those that are
    // moved are borrowed for it alone.
    checked(unsafe { pg_fused_adam(&raw, constants) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSTANTS: AdamConstants =
        AdamConstants { learning_rate: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

    fn step(parameter: &mut Tensor, gradient: Tensor, moments: [&mut Tensor; 2]) -> Result<()> {
        let [first, second] = moments;
        let tensors = AdamTensors {
            parameters: std::slice::from_mut(parameter),
            gradients: &[gradient],
            first_moments: std::slice::from_mut(first),
            second_moments: std::slice::from_mut(second),
            steps: &[Tensor::from(1.0f32)],
        };
        fused_adam(tensors, &CONSTANTS)
    }

    #[test]
    fn fused_adam_follows_the_published_update() {
        let mut parameter = Tensor::from_slice(&[1.0f32]);
        let mut first = Tensor::from_slice(&[0.0f32]);
        let mut second = Tensor::from_slice(&[0.0f32]);
        let gradient = Tensor::from_slice(&[0.5f32]);
        step(&mut parameter, gradient, [&mut first, &mut second]).unwrap();
        // The first step moves by the learning rate against the gradient's sign.
        assert!((parameter.double_value(&[0]) - 0.9).abs() < 1e-6);
        assert!((first.double_value(&[0]) - 0.05).abs() < 1e-7);
    }

    #[test]
    fn a_gradient_that_somebody_holds_outlives_its_parameter_forgetting_it() {
        let mut parameter = Tensor::from_slice(&[2.0f32]).set_requires_grad(true);
        let mut other = Tensor::from_slice(&[3.0f32]).set_requires_grad(true);
        (&parameter * &other).sum(tch::Kind::Float).backward();
        let held = parameter.grad();
        forget_gradients(&mut [&mut parameter, &mut other]).unwrap();
        assert!(!parameter.grad().defined() && !other.grad().defined());
        assert_eq!(held.double_value(&[0]), 3.0);
    }

    #[test]
    fn tensors_that_do_not_lie_as_the_parameter_are_refused() {
        let zeros = |size: &[i64]| Tensor::zeros(size, (tch::Kind::Float, tch::Device::Cpu));
        let turned = || zeros(&[3, 4]).transpose(0, 1);
        let mut parameter = zeros(&[4, 3]);
        let mut moments = [zeros(&[4, 3]), zeros(&[4, 3])];
        for gradient in [zeros(&[3]), turned(), zeros(&[4, 3]).to_kind(tch::Kind::Double)] {
            let [first, second] = &mut moments;
            let error = step(&mut parameter, gradient, [first, second]).unwrap_err().to_string();
            assert!(error.contains("the gradient of a parameter of the size [4, 3]"), "{error}");
        }
        let (mut first, [_, second]) = (zeros(&[2]), &mut moments);
        let error = step(&mut parameter, zeros(&[4, 3]), [&mut first, second]).unwrap_err();
        assert!(error.to_string().contains("the first moment"), "{error}");
    }
}
