//! Convolutions whose weights are learnt.

use tch::{Device, Kind, Tensor};

use super::calls;
use super::probe::fastest_factors;
use super::weights::fits;
use crate::error::Result;

/// The convolution of a training step on `input [B, inputs, h, w]`, with `weight [outputs, inputs, 3,
/// 3]` and `bias [outputs]` in f32: none where it is not on a CPU, or not faster this way. The
/// gradient by the input takes a quarter of the multiplications too.
///
/// # Errors
/// When sizes do not go together, memory does not suffice, or the processor has to be tried and cannot
/// be.
pub fn trained(input: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Option<Tensor>> {
    let (outputs, inputs, ..) = weight.size4()?;
    let kinds = [Kind::Float, Kind::BFloat16].contains(&input.kind());
    let apt = input.device() == Device::Cpu && kinds && weight.kind() == Kind::Float;
    if !apt || !fits(inputs, outputs) {
        return Ok(None);
    }
    let factors = fastest_factors(input.kind())?;
    factors.map(|factors| calls::trained(input, weight, bias, factors)).transpose()
}
