//! Convolutions by Winograd's minimal filtering.

use std::ffi::c_char;

use tch::Tensor;
use torch_sys::C_tensor;

use super::{made, pointer};
use crate::Result;

unsafe extern "C" {
    fn pg_winograd(convolution: *const RawWinograd, output: *mut *mut C_tensor) -> *mut c_char;
}

/// A 3×3 convolution of stride 1 and padding 1 in f32 or bf16.
#[derive(Debug)]
pub(crate) struct WinogradConvolution<'a> {
    /// `[B, inputs, h, w]`, channels last; inputs are a multiple of 16.
    pub(crate) input: &'a Tensor,
    /// `[36, blocks, inputs, outputs of a block]` f32, of blocks that are multiples of 16; for a
    /// bf16 input also bf16 with two inputs side by side.
    pub(crate) weights: &'a Tensor,
    /// `[outputs]` f32
    pub(crate) bias: Option<&'a Tensor>,
    /// `[B, outputs, h, w]`, channels last: added to in place, before the activation.
    pub(crate) sum: Option<&'a Tensor>,
    /// Whether a ReLU follows.
    pub(crate) relu: bool,
}

/// As the C++ function takes it.
#[repr(C)]
struct RawWinograd {
    input: *const C_tensor,
    weights: *const C_tensor,
    bias: *const C_tensor,
    sum: *const C_tensor,
    relu: bool,
}

impl WinogradConvolution<'_> {
    /// `[B, outputs, h, w]`, channels last; the sum itself where there is one.
    ///
    /// # Panics
    /// When channels are no multiples of 16, or the bias has another length.
    pub(crate) fn compute(&self) -> Result<Tensor> {
        let (blocks, block) = (self.weights.size()[1], self.weights.size()[3]);
        let lanes = [self.input.size()[1], block].iter().all(|channels| channels % LANES == 0);
        assert!(lanes, "channels are multiples of {LANES}");
        let fits = |bias: &Tensor| bias.is_contiguous() && bias.numel() as i64 == blocks * block;
        assert!(self.bias.is_none_or(fits), "a bias an output is needed");
        let raw = RawWinograd {
            input: self.input.as_ptr(),
            weights: self.weights.as_ptr(),
            bias: pointer(self.bias),
            sum: pointer(self.sum),
            relu: self.relu,
        };
        // SAFETY: tensors outlive the call, which checks their kinds, sizes and layouts; channels
        // come in whole vectors, as it reads them.
        made(|out| unsafe { pg_winograd(&raw, out) })
    }
}

/// Channels that are computed with together.
pub(crate) const LANES: i64 = 16;
