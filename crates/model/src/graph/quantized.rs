//! Convolutions in 8-bit integers, beside those that are not.
//!
//! An activation after a ReLU is u8, in steps of its channel's range ÷ 255; weights are s8, in steps
//! of their own for every output channel, `w ≈ s_o q` with `s_o = max |w_o| / 127` (or 64, where sums
//! of more could overflow: [`weight_steps`]). oneDNN knows one
//! step for all channels of an activation. But a ReLU only scales with its input, so the steps of
//! the output are divided out of the weights and the bias, those of the input multiplied in, and
//! every u8 is in steps of 1; outputs of several layers may lie beside each other in one input. A
//! step for all channels lost 2 dB of PSNR to the few channels that are large.

pub(super) mod up;

use protoguard_checkpoint::ActivationRanges;
use protoguard_checkpoint::plan::LayerPlan;
use protoguard_kernels::convolution::Activation;
use protoguard_kernels::quantized;
use protoguard_kernels::quantized::weight_steps;
use tch::{Device, Kind, Tensor};

use super::convolution::{Convolution, Folded};
use super::packed::{Kernel, PackedWeights};
use super::setting::{Numbers, Setting};
use crate::error::Result;

/// How a convolution sits between others.
pub(super) struct Edges<'a> {
    /// The layers whose outputs are its input, in the order of their channels. A convolution of
    /// something else stays wide.
    pub(super) inputs: &'a [&'a LayerPlan],
    /// Whether what it makes may be u8.
    pub(super) narrow: bool,
}

/// A convolution in the numbers of its setting.
#[derive(Debug)]
pub(super) enum Layer {
    Wide(Convolution),
    Quantized(QuantizedConvolution),
}

/// A convolution of u8.
#[derive(Debug)]
pub(super) struct QuantizedConvolution {
    weights: PackedWeights,
    /// `s_o` in f32.
    scales: Tensor,
    zero_points: Tensor,
    bias: Tensor,
    relu: bool,
    /// 1 ÷ the steps of the last of the inputs, which may come wide; f32.
    inverse_steps: Tensor,
    /// Whether the output is u8 in steps of 1, and not of `kind`.
    narrow: bool,
    kind: Kind,
}

impl Layer {
    pub(super) fn new(
        folded: &Folded,
        activation: Activation,
        side: i64,
        setting: &Setting,
        edges: &Edges<'_>,
    ) -> Result<Self> {
        match &setting.numbers {
            Numbers::Quantized(ranges) if !edges.inputs.is_empty() => {
                let relu = activation == Activation::Relu;
                QuantizedConvolution::new(folded, relu, side, (setting.kind, ranges), edges)
                    .map(Self::Quantized)
            }
            _ => Convolution::new(folded, activation, side, setting).map(Self::Wide),
        }
    }

    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        match self {
            Self::Wide(convolution) => convolution.forward(input),
            Self::Quantized(convolution) => convolution.forward(input),
        }
    }
}

impl QuantizedConvolution {
    pub(super) fn new(
        folded: &Folded,
        relu: bool,
        side: i64,
        (kind, ranges): (Kind, &ActivationRanges),
        edges: &Edges<'_>,
    ) -> Result<Self> {
        let Stepped { weight, scales, bias, inverse_steps, narrow } =
            Stepped::new(folded, ranges, edges)?;
        let zero_points = Tensor::f_zeros(scales.size(), (Kind::Int, Device::Cpu))?;
        Ok(Self {
            weights: PackedWeights::new(weight, Kernel::Quantized(scales.shallow_clone()), side)?,
            scales,
            zero_points,
            bias,
            relu,
            inverse_steps,
            narrow,
            kind,
        })
    }

    /// `[B, inputs, h, w]` channels last in u8, or wide and not negative.
    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        if input.kind() == Kind::Uint8 {
            return self.convolve(input);
        }
        self.convolve(&quantized::quantize(None, input, &self.inverse_steps)?)
    }

    /// Of cat(left, right), the left in u8 and the right wide.
    pub(super) fn forward_beside(&self, left: &Tensor, right: &Tensor) -> Result<Tensor> {
        self.convolve(&quantized::quantize(Some(left), right, &self.inverse_steps)?)
    }

    fn convolve(&self, input: &Tensor) -> Result<Tensor> {
        let convolution = quantized::QuantizedConvolution {
            input,
            weight: &self.weights.of_batch(input.size()[0])?,
            scales: &self.scales,
            zero_points: &self.zero_points,
            bias: &self.bias,
            relu: self.relu,
            narrow: self.narrow,
            kind: self.kind,
        };
        Ok(convolution.compute()?)
    }
}

/// A layer with the steps of both sides in its weights and bias.
struct Stepped {
    /// `[outputs, inputs, 3, 3]` s8.
    weight: Tensor,
    /// `s_o [outputs]` in f32.
    scales: Tensor,
    /// `[outputs]` in f32.
    bias: Tensor,
    /// 1 ÷ the steps of the last of the inputs; f32.
    inverse_steps: Tensor,
    /// Whether the output is in steps of 1.
    narrow: bool,
}

impl Stepped {
    fn new(folded: &Folded, ranges: &ActivationRanges, edges: &Edges<'_>) -> Result<Self> {
        // 1. The steps of both sides, into weights and bias.
        let (mut steps, mut last) = (Vec::new(), Vec::new());
        for input in edges.inputs {
            last = ranges.steps(&input.path(), input.outputs)?;
            steps.extend_from_slice(&last);
        }
        let inverse_steps = Tensor::f_from_slice(&last)?.f_reciprocal()?.f_to_kind(Kind::Float)?;
        let steps = Tensor::f_from_slice(&steps)?.f_reshape([1, -1, 1, 1])?;
        let mut weight = if folded.up {
            folded.weight.f_transpose(0, 1)?.f_mul(&steps)?
        } else {
            folded.weight.f_mul(&steps)?
        };
        let mut bias = folded.bias.shallow_clone();
        let path = folded.path.as_deref().filter(|_| edges.narrow);
        if let Some(path) = path {
            let outputs = weight.size()[0] as usize;
            let steps = Tensor::f_from_slice(&ranges.steps(path, outputs)?)?;
            bias = bias.f_div(&steps)?;
            weight = weight.f_div(&steps.f_reshape([-1, 1, 1, 1])?)?;
        }
        // 2. Each output channel in steps of its own; one that is all zeros has any.
        let largest = weight.f_abs()?.f_amax([1i64, 2, 3].as_slice(), true)?;
        let scales = largest.f_clamp_min(f64::MIN_POSITIVE)?.f_div_scalar(weight_steps()? as f64)?;
        Ok(Self {
            weight: weight.f_div(&scales)?.f_round()?.f_to_kind(Kind::Int8)?.f_contiguous()?,
            scales: scales.f_reshape([-1])?.f_to_kind(Kind::Float)?.f_contiguous()?,
            bias: bias.f_to_kind(Kind::Float)?,
            inverse_steps,
            narrow: path.is_some(),
        })
    }
}
