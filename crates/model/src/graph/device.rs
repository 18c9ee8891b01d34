//! Convolutions by the device's own library, as libtorch calls it: on a GPU cuDNN's.

use std::cell::Cell;

use protoguard_kernels::convolution::Activation;
use tch::{TchError, Tensor};

use crate::error::Result;

/// Weights on a device other than the CPU.
#[derive(Debug)]
pub(super) struct DeviceWeights {
    /// Channels last.
    weight: Tensor,
    up: bool,
    /// Whether bias, sum and ReLU may go with the convolution in one kernel. cuDNN has that form
    /// for most shapes; a layer that it has none for finds out in its first pass.
    fuses: Cell<bool>,
}

impl DeviceWeights {
    pub(super) fn new(weight: Tensor, up: bool) -> Self {
        let fuses = Cell::new(!up && weight.device().is_cuda());
        Self { weight, up, fuses }
    }

    /// `activation(convolution(input) + bias)`
    pub(super) fn forward(
        &self,
        input: &Tensor,
        bias: Option<&Tensor>,
        activation: Activation,
    ) -> Result<Tensor> {
        if activation == Activation::Relu {
            let relu = || {
                let (one, weight) = ([1, 1], &self.weight);
                input.f_cudnn_convolution_relu(weight, bias, one, one, one, 1)
            };
            if let Some(output) = self.fused(relu) {
                return Ok(output);
            }
        }
        let mut output = self.plain(input, bias)?;
        Ok(match activation {
            Activation::None => output,
            Activation::Relu => output.f_relu_()?,
            Activation::Tanh => output.f_tanh_()?,
        })
    }

    /// `relu(sum + convolution(input) + bias)`
    pub(super) fn add_to(
        &self,
        mut sum: Tensor,
        input: &Tensor,
        bias: Option<&Tensor>,
    ) -> Result<Tensor> {
        let add_relu = || {
            let (one, weight) = ([1, 1], &self.weight);
            input.f_cudnn_convolution_add_relu(weight, &sum, 1.0, bias, one, one, one, 1)
        };
        if let Some(output) = self.fused(add_relu) {
            return Ok(output);
        }
        Ok(sum.f_add_(&self.plain(input, bias)?)?.f_relu_()?)
    }

    fn fused(
        &self,
        call: impl FnOnce() -> std::result::Result<Tensor, TchError>,
    ) -> Option<Tensor> {
        if !self.fuses.get() {
            return None;
        }
        // What else may be wrong, the plain form says.
        let output = call().ok();
        self.fuses.set(output.is_some());
        output
    }

    fn plain(&self, input: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let (one, weight) = ([1, 1], &self.weight);
        Ok(if self.up {
            input.f_conv_transpose2d(weight, bias, [2, 2], one, one, 1, one)?
        } else {
            input.f_conv2d(weight, bias, one, one, one, 1)?
        })
    }
}
