//! Convolutions with weights that do not change.

use tch::{Kind, Tensor};

use super::calls::{self, LANES, WinogradConvolution};
use crate::convolution::Activation;
use crate::error::Result;

/// Weights, transformed once.
#[derive(Debug)]
pub struct WinogradWeights {
    /// See `calls::weights`.
    pub(super) products: Tensor,
}

impl WinogradWeights {
    /// Of `weight [outputs, inputs, 3, 3]`, which [fits].
    ///
    /// # Errors
    /// When the weights have another shape, or memory does not suffice.
    pub fn new(weight: &Tensor, factors: Kind) -> Result<Self> {
        Ok(Self { products: calls::weights(weight, factors)? })
    }

    /// `activation(convolution(input) + bias)`; with a sum, which is written into, that of both.
    ///
    /// # Errors
    /// When sizes, kinds or layouts do not go with the weights, or memory does not suffice.
    pub fn forward(
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
pub fn fits(inputs: i64, outputs: i64) -> bool {
    inputs % LANES == 0 && outputs % LANES == 0
}
