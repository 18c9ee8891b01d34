//! Convolutions with a quarter of the multiplications: Winograd's minimal filtering F(4×4, 3×3)
//! (Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*, CVPR 2016).
//!
//! A tile of 4 × 4 outputs depends on 6 × 6 inputs. Both are polynomials' values in disguise: with
//! inputs and kernel evaluated at six points a side (`Bᵀ d B` and `G g Gᵀ`), the outputs follow
//! from 36 products (`Aᵀ m A`) instead of 144, and over channels the products are 36 matrix
//! products. The points are 0, ±√½, ±√2 and infinity: with the usual 0, ±1, ±2 rounding errors were
//! five times as large, and with these they are 1.5 times those of a direct convolution. Around a
//! bf16 convolution the transforms are f32 too, and the factors bf16 or f32, whichever the
//! processor multiplies faster.

use tch::{Kind, Tensor};

use super::Setting;
use super::convolution::Folded;
use crate::Result;
use crate::native::Activation;
use crate::native::winograd::{LANES, WinogradConvolution};

/// Outputs that a matrix product makes at a time, where they divide a layer's.
pub(super) const BLOCKS: [i64; 4] = [64, 48, 32, 16];

/// Weights, transformed once.
#[derive(Debug)]
pub(super) struct WinogradWeights {
    /// `[36, blocks, inputs, outputs of a block]` f32, or bf16 with two inputs side by side,
    /// `[36, blocks, inputs / 2, outputs of a block, 2]`.
    products: Tensor,
}

impl WinogradWeights {
    /// The weights of a layer that gains by it: with fewer channels than 16, or not in whole
    /// vectors of them, a direct convolution is as fast.
    pub(super) fn of(
        folded: &Folded,
        activation: Activation,
        setting: &Setting,
    ) -> Result<Option<Self>> {
        let (outputs, inputs, ..) = folded.weight.size4()?;
        let whole = outputs % LANES == 0 && inputs % LANES == 0;
        let plain = !folded.up && activation != Activation::Tanh;
        match setting.factors {
            Some(factors) if whole && plain => Self::new(&folded.weight, factors).map(Some),
            _ => Ok(None),
        }
    }

    /// `G g Gᵀ` of `weight [outputs, inputs, 3, 3]`, in f64.
    fn new(weight: &Tensor, factors: Kind) -> Result<Self> {
        let (outputs, inputs, ..) = weight.size4()?;
        let block = BLOCKS.into_iter().find(|block| outputs % block == 0).unwrap_or(outputs);
        let points = points()?;
        let all = points.f_matmul(weight)?.f_matmul(&points.f_transpose(0, 1)?)?; // [O, I, 6, 6]
        let all = all.f_permute([2, 3, 1, 0])?;
        let products = if factors == Kind::BFloat16 {
            let all = all.f_reshape([36, inputs / 2, 2, outputs / block, block])?;
            all.f_permute([0, 3, 1, 4, 2])?
        } else {
            let all = all.f_reshape([36, inputs, outputs / block, block])?;
            all.f_permute([0, 2, 1, 3])?
        };
        Ok(Self { products: products.f_to_kind(factors)?.f_contiguous()? })
    }

    /// `activation(convolution(input) + bias)`; with a sum, which is written into, that of both.
    pub(super) fn forward(
        &self,
        input: &Tensor,
        bias: Option<&Tensor>,
        sum: Option<&Tensor>,
        activation: Activation,
    ) -> Result<Tensor> {
        let relu = activation == Activation::Relu;
        WinogradConvolution { input, weights: &self.products, bias, sum, relu }.compute()
    }
}

/// `G [6, 3]` in f64: the kernel's polynomial at every point, over what the other points make of it.
fn points() -> Result<Tensor> {
    let (third, sixth, root) = (1.0 / 3.0, 1.0 / 6.0, 2f64.sqrt());
    let rows = [
        [1.0, 0.0, 0.0],
        [-2.0 * third, -root * third, -third],
        [-2.0 * third, root * third, -third],
        [sixth, root * sixth, third],
        [sixth, -root * sixth, third],
        [0.0, 0.0, 1.0],
    ];
    Ok(Tensor::f_from_slice(&rows.concat())?.f_reshape([6, 3])?)
}

/// Whether the processor has the vectors that make it worthwhile.
#[cfg(target_arch = "x86_64")]
pub(super) fn is_fast() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn is_fast() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn picture(size: [i64; 4]) -> Tensor {
        let [batch, channels, height, width] = size;
        let options = (Kind::Double, Device::Cpu);
        Tensor::randn([batch, height, width, channels], options).permute([0, 3, 1, 2])
    }

    #[test]
    #[allow(clippy::print_stderr, reason = "a skipped test says so")]
    fn it_is_the_convolution_at_any_size() {
        if !is_fast() {
            eprintln!("skipped: this processor has no AVX-512");
            return;
        }
        tch::manual_seed(7);
        let (f32, bf16) = (Kind::Float, Kind::BFloat16);
        let sizes =
            [(1, 16, 16, 4, 4), (2, 32, 48, 7, 10), (3, 16, 64, 3, 1), (1, 192, 80, 33, 32)];
        // Half a step of a bf16 is up to 1/256 of it.
        for (kind, factors, limit) in [(f32, f32, 5e-6), (bf16, f32, 4e-3), (bf16, bf16, 2e-2)] {
            if factors == bf16 && !crate::graph::probe::has_bf16() {
                eprintln!("skipped: this processor has no bf16");
                continue;
            }
            for size in sizes {
                assert_convolution(size, [kind, factors], limit);
            }
        }
    }

    fn assert_convolution(size: (i64, i64, i64, i64, i64), [kind, factors]: [Kind; 2], limit: f64) {
        let (batch, inputs, outputs, height, width) = size;
        let rounded = |x: Tensor| x.to_kind(kind).to_kind(Kind::Double);
        let options = (Kind::Double, Device::Cpu);
        let weight = Tensor::randn([outputs, inputs, 3, 3], options);
        let bias = Tensor::randn([outputs], options);
        let input = rounded(picture([batch, inputs, height, width]));
        let expected = input.conv2d(&weight, Some(&bias), [1, 1], [1, 1], [1, 1], 1);
        let weights = WinogradWeights::new(&weight, factors).unwrap();
        let (input, bias) = (input.to_kind(kind), bias.to_kind(Kind::Float));
        let close = |found: &Tensor, expected: &Tensor| {
            assert_eq!(found.kind(), kind);
            let error = (found.to_kind(Kind::Double) - expected).abs().max().double_value(&[]);
            let limit = limit * expected.abs().max().double_value(&[]);
            assert!(error < limit, "{size:?} in {kind:?}, {factors:?}: {error} of {limit}");
        };
        let found = weights.forward(&input, Some(&bias), None, Activation::None).unwrap();
        close(&found, &expected);
        let other = rounded(picture([batch, outputs, height, width]));
        let sum = other.to_kind(kind);
        let made = weights.forward(&input, Some(&bias), Some(&sum), Activation::Relu).unwrap();
        close(&made, &(expected + other).relu());
        assert_eq!(made.data_ptr(), sum.data_ptr(), "a sum is added to in place");
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let options = (Kind::Double, Device::Cpu);
        let weight = Tensor::randn([16, 32, 3, 3], options);
        let weights = WinogradWeights::new(&weight, Kind::Float).unwrap();
        let input = picture([1, 16, 8, 8]).to_kind(Kind::Float);
        let message = weights.forward(&input, None, None, Activation::None).unwrap_err();
        assert!(message.to_string().contains("weights of 16 inputs are expected"), "{message}");
        let sum = picture([1, 16, 4, 4]).to_kind(Kind::Float);
        let input = picture([1, 32, 8, 8]).to_kind(Kind::Float);
        let message = weights.forward(&input, None, Some(&sum), Activation::None).unwrap_err();
        assert!(message.to_string().contains("another shape"), "{message}");
        let paired = WinogradWeights::new(&weight, Kind::BFloat16).unwrap();
        let message = paired.forward(&input, None, None, Activation::None).unwrap_err();
        assert!(message.to_string().contains("an f32 input takes weights in f32"), "{message}");
    }
}
