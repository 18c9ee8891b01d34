//! Up-convolutions of u8, as products of bytes: oneDNN has them, but libtorch gives no way to them.

use std::sync::OnceLock;

use protoguard_checkpoint::ActivationRanges;
use protoguard_checkpoint::plan::LayerPlan;
use protoguard_kernels::convolution::Activation;
use protoguard_kernels::layout::channels_last;
use protoguard_kernels::processor::has_vnni;
use protoguard_kernels::quantized;
use protoguard_kernels::{Fault, KernelError};
use tch::{Device, Kind, Tensor};

use super::{Edges, Stepped};
use crate::error::{ModelError, Result};
use crate::graph::convolution::{Convolution, Folded};
use crate::graph::setting::{Numbers, Setting};

/// Inputs that VNNI multiplies and sums in one instruction.
const FOUR: usize = 4;
/// Outputs that a matrix product makes at a time, where they divide a layer's.
const BLOCKS: [i64; 4] = [64, 48, 32, 16];

/// An up-convolution in the numbers of its setting.
#[derive(Debug)]
pub(crate) enum UpLayer {
    Wide(Convolution),
    Quantized(QuantizedUpConvolution),
}

/// An up-convolution of u8 to u8.
#[derive(Debug)]
pub(crate) struct QuantizedUpConvolution {
    weights: Tensor,
    scales: Tensor,
    bias: Tensor,
}

/// Whether up-convolutions of bytes are exact here. The processor needs AVX512-VNNI, and oneDNN,
/// which makes the products, must use it: it may be told not to, and a virtual machine may show VNNI
/// and hide what else oneDNN asks for. So the largest products are tried, once a process.
///
/// # Errors
/// When the trial fails for want of memory. The next call tries again.
pub(crate) fn takes_up_bytes() -> Result<bool> {
    static FOUND: OnceLock<bool> = OnceLock::new();
    if !has_vnni().map_err(KernelError::from)? {
        return Ok(false);
    }
    if let Some(exact) = FOUND.get() {
        return Ok(*exact);
    }
    let exact = tch::no_grad(largest_products_are_exact)?;
    Ok(*FOUND.get_or_init(|| exact))
}

/// Inputs of 255 with weights of ±127, compared with the sums of the taps that reach each output.
fn largest_products_are_exact() -> Result<bool> {
    // Blocks of 64 and of 16 outputs, one that is none, and inputs that fill no register.
    for (inputs, outputs) in [(128, 64), (36, 16), (4, 6)] {
        for weight in [127, -127] {
            match largest_product_is_exact([inputs, outputs], weight) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(ModelError::Kernel(KernelError::Native { fault: Fault::Refused, .. })) => {
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(true)
}

fn largest_product_is_exact([inputs, outputs]: [i64; 2], weight: i64) -> Result<bool> {
    const SIDE: i64 = 8;
    /// Of an output on an odd row and an odd column.
    const MOST_TAPS: i64 = 4;
    let full = |size: &[i64], value: f64, kind| Tensor::f_full(size, value, (kind, Device::Cpu));
    let input = full(&[1, inputs, SIDE, SIDE], 255.0, Kind::Uint8)?;
    let weights = full(&[outputs, inputs, 3, 3], weight as f64, Kind::Int8)?;
    // So that the largest sum is 240, each tap adds 60, and half a step is far from either. Sums
    // below zero are lifted by as much.
    let sum = (MOST_TAPS * inputs * 255 * 127) as f64;
    let scales = full(&[outputs], 240.0 / sum, Kind::Float)?;
    let lifted = if weight < 0 { 240.0 } else { 0.0 };
    let bias = full(&[outputs], lifted, Kind::Float)?;
    let input = channels_last(&input)?;
    let found = QuantizedUpConvolution::laid_out(&weights, scales, bias)?.forward(&input, None)?;
    // One pixel has a tap along a side where it is even or the last, and two where it is odd.
    let taps = |at: i64| if at % 2 == 1 && at < 2 * SIDE - 1 { 2 } else { 1 };
    let expected: Vec<u8> = (0..4 * SIDE * SIDE)
        .map(|pixel| 60 * taps(pixel / (2 * SIDE)) * taps(pixel % (2 * SIDE)))
        .map(|reached: i64| if weight < 0 { 240 - reached } else { reached } as u8)
        .collect();
    let expected = Tensor::f_from_slice(&expected)?.f_reshape([1, 1, 2 * SIDE, 2 * SIDE])?;
    Ok(found.f_equal(&expected.f_expand_as(&found)?)?)
}

impl UpLayer {
    /// With inputs of `side` × `side` pixels.
    pub(crate) fn new(
        folded: &Folded,
        side: i64,
        setting: &Setting,
        edges: &Edges<'_>,
    ) -> Result<Self> {
        match &setting.numbers {
            Numbers::Quantized(ranges) if edges.narrow => {
                QuantizedUpConvolution::new(folded, ranges, edges).map(Self::Quantized)
            }
            _ => Convolution::new(folded, Activation::Relu, side, setting).map(Self::Wide),
        }
    }

    /// Whether the layer can be computed in u8, so that what comes before it should make them.
    pub(crate) fn takes_bytes(plan: &LayerPlan, setting: &Setting) -> bool {
        setting.up_bytes && plan.inputs.is_multiple_of(FOUR)
    }

    /// `[B, outputs, 2h, 2w]`; in u8 behind the channels of `skip`, where there is one.
    pub(crate) fn forward(&self, input: &Tensor, skip: Option<&Tensor>) -> Result<Tensor> {
        match self {
            Self::Wide(convolution) => convolution.forward(input),
            Self::Quantized(convolution) => convolution.forward(input, skip),
        }
    }
}

impl QuantizedUpConvolution {
    fn new(folded: &Folded, ranges: &ActivationRanges, edges: &Edges<'_>) -> Result<Self> {
        let Stepped { weight, scales, bias, .. } = Stepped::new(folded, ranges, edges)?;
        Self::laid_out(&weight, scales, bias)
    }

    /// Of `weight [outputs, inputs, 3, 3]` s8.
    fn laid_out(weight: &Tensor, scales: Tensor, bias: Tensor) -> Result<Self> {
        let (outputs, inputs, ..) = weight.size4()?;
        let block = BLOCKS.into_iter().find(|block| outputs % block == 0).unwrap_or(outputs);
        let four = FOUR as i64;
        let weights = weight.f_reshape([outputs / block, block, inputs / four, four, 9])?;
        let weights = weights.f_permute([4, 0, 2, 1, 3])?.f_contiguous()?;
        Ok(Self { weights, scales, bias })
    }

    fn forward(&self, input: &Tensor, left: Option<&Tensor>) -> Result<Tensor> {
        let Self { weights, scales, bias } = self;
        let convolution = quantized::QuantizedUpConvolution { input, weights, scales, bias, left };
        Ok(convolution.compute()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels_last(x: &Tensor) -> Tensor {
        protoguard_kernels::layout::channels_last(x).unwrap()
    }

    #[test]
    #[allow(clippy::print_stderr, reason = "a skipped test says so")]
    fn what_is_tried_is_compared_to_the_number() {
        if !takes_up_bytes().unwrap() {
            eprintln!("skipped: products of bytes are not exact here");
            return;
        }
        assert!(largest_product_is_exact([8, 16], 127).unwrap());
        assert!(largest_product_is_exact([8, 16], -127).unwrap());
        assert!(!largest_product_is_exact([8, 16], 125).unwrap(), "sums of other weights");
        assert!(!largest_product_is_exact([8, 16], -64).unwrap());
    }

    #[test]
    #[allow(clippy::print_stderr, reason = "a skipped test says so")]
    fn up_convolutions_of_bytes_are_up_convolutions() {
        if !takes_up_bytes().unwrap() {
            eprintln!("skipped: products of bytes are not exact here");
            return;
        }
        tch::manual_seed(11);
        let bytes =
            |size: &[i64]| channels_last(&Tensor::randint(256, size, (Kind::Uint8, Device::Cpu)));
        // One pixel, rows longer than a thread takes, blocks of several sizes.
        for (batch, inputs, outputs, height, width) in
            [(1, 4, 2, 1, 1), (2, 16, 8, 5, 3), (1, 8, 96, 3, 130), (3, 24, 128, 2, 64)]
        {
            let options = (Kind::Double, Device::Cpu);
            let input = bytes(&[batch, inputs, height, width]);
            let weight = Tensor::randint_low(-127, 128, [outputs, inputs, 3, 3], options);
            let scales = Tensor::rand([outputs], options) * 1e-3 + 1e-4;
            let bias = Tensor::randn([outputs], options) * 50.0;
            let real = &weight * scales.reshape([-1, 1, 1, 1]);
            let (real, two, one) = (real.transpose(0, 1), [2, 2], [1, 1]);
            let wide = input.to_kind(Kind::Double);
            let plain = wide.conv_transpose2d(&real, Some(&bias), two, one, one, 1, one);
            let expected = plain.relu().clamp_max(255.0);
            let weight = weight.to_kind(Kind::Int8);
            let [scales, bias] = [&scales, &bias].map(|x| x.to_kind(Kind::Float));
            let layer = QuantizedUpConvolution::laid_out(&weight, scales, bias).unwrap();
            let left = bytes(&[batch, 5, 2 * height, 2 * width]);
            let found = layer.forward(&input, Some(&left)).unwrap();
            assert!(found.narrow(1, 0, 5).equal(&left));
            let off = (found.narrow(1, 5, outputs).to_kind(Kind::Double) - expected).abs();
            let off = off.max().double_value(&[]);
            assert!(off <= 0.501, "{inputs} -> {outputs}, {height} x {width}: {off}");
            let alone = layer.forward(&input, None).unwrap();
            assert!(alone.equal(&found.narrow(1, 5, outputs)));
            assert!(layer.forward(&input, Some(&left.narrow(2, 0, 1))).is_err(), "another size");
            assert!(layer.forward(&left, None).is_err(), "five inputs");
            let wide = left.to_kind(Kind::Float);
            assert!(layer.forward(&input, Some(&wide)).is_err(), "another kind");
            let pairs = layer.weights.flatten(3, 4).unsqueeze(4);
            let other = QuantizedUpConvolution { weights: pairs, ..layer };
            let message = other.forward(&input, None).unwrap_err().to_string();
            assert!(message.contains("outputs of a block, 4] is expected"), "{message}");
        }
    }
}
