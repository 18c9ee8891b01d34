//! Convolutions by Winograd's minimal filtering, of stride 1 and padding 1, over channels that are
//! multiples of [`LANES`].

use std::mem::{offset_of, size_of};
use std::ptr;

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use crate::call::{RawFault, made, pointer};
use crate::error::Result;

unsafe extern "C" {
    fn pg_winograd_weights(
        weight: *const C_tensor,
        bf16: bool,
        output: *mut *mut C_tensor,
    ) -> RawFault;
    fn pg_winograd(convolution: *const RawWinograd, output: *mut *mut C_tensor) -> RawFault;
    fn pg_winograd_trained(
        input: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        bf16: bool,
        output: *mut *mut C_tensor,
    ) -> RawFault;
}

/// What numbers of channels are multiples of.
pub(super) const LANES: i64 = 8;

/// The transform of `weight [outputs, inputs, 3, 3]`, computed in its own kind: `[36, blocks,
/// inputs, outputs of a block]` f32, or bf16 with two inputs side by side, `[36, blocks, inputs / 2,
/// outputs of a block, 2]`.
pub(super) fn weights(weight: &Tensor, factors: Kind) -> Result<Tensor> {
    let bf16 = factors == Kind::BFloat16;
    // SAFETY: the tensor outlives the call.
    made(|out| unsafe { pg_winograd_weights(weight.as_ptr(), bf16, out) })
}

/// A 3×3 convolution.
#[derive(Debug)]
pub(super) struct WinogradConvolution<'a> {
    /// `[B, inputs, h, w]` f32 or bf16, channels last.
    pub(super) input: &'a Tensor,
    /// Of [`weights`]; those in bf16 are for a bf16 input alone.
    pub(super) weights: &'a Tensor,
    /// `[outputs]` f32
    pub(super) bias: Option<&'a Tensor>,
    /// `[B, outputs, h, w]`, channels last: added to in place, before the activation.
    pub(super) sum: Option<&'a mut Tensor>,
    /// Whether a ReLU follows.
    pub(super) relu: bool,
}

/// As the C++ function takes it.
#[repr(C)]
struct RawWinograd {
    input: *const C_tensor,
    weights: *const C_tensor,
    bias: *const C_tensor,
    sum: *mut C_tensor,
    relu: bool,
}

const _: () = {
    assert!(size_of::<RawWinograd>() == 40);
    assert!(offset_of!(RawWinograd, input) == 0 && offset_of!(RawWinograd, weights) == 8);
    assert!(offset_of!(RawWinograd, bias) == 16 && offset_of!(RawWinograd, sum) == 24);
    assert!(offset_of!(RawWinograd, relu) == 32);
};

impl WinogradConvolution<'_> {
    /// `[B, outputs, h, w]`, channels last; the sum itself where there is one.
    pub(super) fn compute(self) -> Result<Tensor> {
        let raw = RawWinograd {
            input: self.input.as_ptr(),
            weights: self.weights.as_ptr(),
            bias: pointer(self.bias),
            sum: self.sum.map_or(ptr::null_mut(), Tensor::as_mut_ptr),
            relu: self.relu,
        };
        // SAFETY: tensors outlive the call, which checks their kinds, sizes, layouts and devices; the
        // one that is written into is borrowed for it alone.
        made(|out| unsafe { pg_winograd(&raw, out) })
    }
}

/// A 3×3 convolution of `input [B, inputs, h, w]` in f32 or bf16 with `weight [outputs, inputs, 3, 3]`
/// and `bias [outputs]` in f32, through which gradients flow: those by weight and bias in f32.
pub(super) fn trained(
    input: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    factors: Kind,
) -> Result<Tensor> {
    let bf16 = factors == Kind::BFloat16;
    let (input, weight, bias) = (input.as_ptr(), weight.as_ptr(), bias.as_ptr());
    // SAFETY: as above.
    made(|out| unsafe { pg_winograd_trained(input, weight, bias, bf16, out) })
}
