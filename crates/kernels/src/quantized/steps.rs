//! How large weights of 8 bits may be.

use std::sync::OnceLock;

use tch::{Device, Kind, Tensor};

use super::{QuantizedConvolution, pack_quantized};
use crate::convolution::takes_bf16;
use crate::error::Result;
use crate::layout::channels_last;

/// The largest weight that convolutions of u8 may have, on either side of zero: 127, or 64 on a
/// processor without VNNI.
///
/// There oneDNN sums products in pairs of 16 bits that saturate in silence: 2 · 255 · 127 does not
/// fit, and 2 · 255 · 64 does. Which it is, is found by trying once a process; all layers have the
/// steps that every kind of convolution in use has the right sums with.
///
/// # Errors
/// When a trial fails, for want of memory for instance. The next call tries again.
pub fn weight_steps() -> Result<i64> {
    static FOUND: OnceLock<i64> = OnceLock::new();
    if let Some(steps) = FOUND.get() {
        return Ok(*steps);
    }
    let exact = tch::no_grad(|| all_sums_are_exact(i64::from(i8::MAX)))?;
    Ok(*FOUND.get_or_init(|| if exact { i64::from(i8::MAX) } else { 64 }))
}

/// Inputs and outputs for which oneDNN has code of its own: full registers and parts of one, numbers
/// that four divides and that it does not.
const CHANNELS: [[i64; 2]; 5] = [[64, 64], [192, 96], [24, 12], [6, 3], [3, 5]];

/// What a convolution makes of its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Bytes,
    Wide(Kind),
}

/// Whether sums of weights of `±weight` are right in all channels and outputs that layers have.
fn all_sums_are_exact(weight: i64) -> Result<bool> {
    let mut outputs = vec![Made::Bytes, Made::Wide(Kind::Float)];
    outputs.extend(takes_bf16()?.then_some(Made::Wide(Kind::BFloat16)));
    for channels in CHANNELS {
        for made in &outputs {
            for weight in [weight, -weight] {
                if !sums_are_exact(channels, *made, weight)? {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

/// Whether a convolution of the largest inputs with weights all of `weight` has the right sums.
fn sums_are_exact([inputs, outputs]: [i64; 2], made: Made, weight: i64) -> Result<bool> {
    const SIDE: i64 = 8;
    let full = |size: &[i64], value: f64, kind| Tensor::f_full(size, value, (kind, Device::Cpu));
    let size = [1, inputs, SIDE, SIDE];
    // Of nine taps; f32 has it to the number.
    let sum = (9 * inputs * 255 * weight) as f64;
    // As bytes, half of the range for a sum of either sign around its middle.
    let (scale, bias) = match made {
        Made::Bytes => (100.0 / sum.abs(), 120.0),
        Made::Wide(_) => (1.0, 0.0),
    };
    let scales = full(&[outputs], scale, Kind::Float)?;
    let weights = full(&[outputs, inputs, 3, 3], weight as f64, Kind::Int8)?;
    let kind = if let Made::Wide(kind) = made { kind } else { Kind::Float };
    let found = QuantizedConvolution {
        input: &channels_last(&full(&size, 255.0, Kind::Uint8)?)?,
        weight: &pack_quantized(&weights, &scales, size)?,
        scales: &scales,
        zero_points: &full(&[outputs], 0.0, Kind::Int)?,
        bias: &full(&[outputs], bias, Kind::Float)?,
        relu: made == Made::Bytes,
        narrow: made == Made::Bytes,
        kind,
    };
    let found = found.compute()?.f_narrow(2, 1, SIDE - 2)?.f_narrow(3, 1, SIDE - 2)?;
    let expected =
        full(&[1], (sum * scale + bias).round(), Kind::Float)?.f_to_kind(found.kind())?;
    Ok(found.f_equal(&expected.f_expand_as(&found)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_weights_have_the_right_sums_in_every_kind_of_layer() {
        let steps = weight_steps().unwrap();
        assert!([64, 127].contains(&steps), "{steps}");
        assert!(all_sums_are_exact(steps).unwrap());
        assert_eq!(steps == 127, all_sums_are_exact(127).unwrap(), "7 bits where 8 are right");
    }
}
