//! The first convolution of a decoder, with the memory's items folded into its kernel.
//!
//! It sees `z_hat = w M` (Eq. 10), a linear function of the N weights `w` of a query. So it can act
//! on the weights themselves, with `M` multiplied into its kernel: 100 inputs instead of 512 at full
//! size, and the same result.
//!
//! With the paper's temperature the weights lie around 1/N and differ little, which bf16 would
//! round away. They are centred: what the mean weight makes is computed once, and only departures
//! from it go through the convolution.

use protoguard_kernels::convolution::Activation;
use tch::Tensor;

use super::convolution::{Convolution, Folded};
use super::setting::Setting;
use crate::error::Result;

#[derive(Debug)]
pub(super) enum Bottom {
    /// Acts on `z_hat [B, C, H, H]`.
    Plain(Convolution),
    /// Acts on the centred weights `[B, N, H, H]`.
    Folded {
        convolution: Convolution,
        /// What equal weights make, bias included: `[1, H, H, outputs]`; the borders differ.
        constant: Tensor,
    },
}

impl Bottom {
    /// With `items [N, C]` in f64, they are folded in.
    pub(super) fn new(layer: &Folded, items: Option<&Tensor>, setting: &Setting) -> Result<Self> {
        let side = setting.query_side;
        let Some(items) = items else {
            let convolution = Convolution::new(layer, Activation::Relu, side, setting)?;
            return Ok(Self::Plain(convolution));
        };
        // 1. K'[o, n] = Σ_c K[o, c] M[n, c] at each of the nine taps.
        let taps = layer.weight.f_permute([0, 2, 3, 1])?; // [outputs, 3, 3, C]
        let taps = taps.f_matmul(&items.f_transpose(0, 1)?)?; // [outputs, 3, 3, N]
        let weight = taps.f_permute([0, 3, 1, 2])?.f_contiguous()?; // [outputs, N, 3, 3]
        // 2. What equal weights make: the zero padding makes the borders differ.
        let channels = items.size2()?.1;
        let mean = items.f_mean_dim([0i64].as_slice(), false, None)?; // [C]
        let mean =
            mean.f_reshape([1, channels, 1, 1])?.f_expand([1, channels, side, side], false)?;
        let (kernel, bias) = (&layer.weight, Some(&layer.bias));
        let constant = mean.f_conv2d(kernel, bias, [1, 1], [1, 1], [1, 1], 1)?;
        let constant = constant.f_permute([0, 2, 3, 1])?.f_contiguous()?;
        let constant = constant.f_to_device(setting.device)?.f_to_kind(setting.kind)?;
        let (path, bias) = (layer.path.clone(), layer.bias.f_zeros_like()?);
        let kernel = Folded { path, weight, bias, up: false };
        let convolution = Convolution::new(&kernel, Activation::Relu, side, setting)?;
        Ok(Self::Folded { convolution: convolution.without_bias(), constant })
    }

    pub(super) fn forward(&self, start: &Tensor) -> Result<Tensor> {
        match self {
            Self::Plain(convolution) => convolution.forward(start),
            Self::Folded { convolution, constant } => {
                let sum = constant.f_repeat([start.size()[0], 1, 1, 1])?;
                convolution.add_to(sum.f_permute([0, 3, 1, 2])?, start)
            }
        }
    }
}
