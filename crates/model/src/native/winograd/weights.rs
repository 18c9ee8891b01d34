//! Convolutions with weights that do not change.

use tch::{Kind, Tensor};

use super::calls::{self, LANES, WinogradConvolution};
use crate::native::convolution::Activation;
use crate::native::error::Result;

/// Weights, transformed once.
#[derive(Debug)]
pub(crate) struct WinogradWeights {
    /// See [`calls::weights`].
    pub(super) products: Tensor,
}

impl WinogradWeights {
    /// Of `weight [outputs, inputs, 3, 3]`, which [fits].
    pub(crate) fn new(weight: &Tensor, factors: Kind) -> Result<Self> {
        Ok(Self { products: calls::weights(weight, factors)? })
    }

    /// `activation(convolution(input) + bias)`; with a sum, which is written into, that of both.
    pub(crate) fn forward(
        &self,
        input: &Tensor,
        bias: Option<&Tensor>,
        sum: Option<&mut Tensor>,
        activation: Activation,
    ) -> Result<Tensor> {
        let relu = activation == Activation::Relu;
        WinogradConvolution { input, weights: &self.products, bias, sum, relu }.compute()
    }
}

/// Whether a layer can be computed so, and gains by it: the network's own input and output have
/// fewer channels than a vector.
pub(crate) fn fits(inputs: i64, outputs: i64) -> bool {
    inputs % LANES == 0 && outputs % LANES == 0
}
