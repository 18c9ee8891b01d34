//! How large weights of 8 bits may be.

use std::sync::OnceLock;

use tch::{Device, Kind, Tensor};

use super::{QuantizedConvolution, pack_quantized};
use crate::Result;

/// The largest weight that convolutions of u8 may have, on either side of zero: 127, or 64 on a
/// processor without VNNI.
///
/// There oneDNN sums products in pairs of 16 bits that saturate in silence: 2 · 255 · 127 does not
/// fit, and 2 · 255 · 64 does. Which it is, is found by trying once a process.
pub(crate) fn weight_steps() -> Result<i64> {
    static FOUND: OnceLock<i64> = OnceLock::new();
    if let Some(steps) = FOUND.get() {
        return Ok(*steps);
    }
    let exact = tch::no_grad(|| sums_are_exact(i64::from(i8::MAX)))?;
    Ok(*FOUND.get_or_init(|| if exact { i64::from(i8::MAX) } else { 64 }))
}

/// Whether a convolution of the largest inputs with weights all of `weight` has the right sums.
fn sums_are_exact(weight: i64) -> Result<bool> {
    const CHANNELS: i64 = 64;
    const SIDE: i64 = 8;
    let full = |size: &[i64], value: i64, kind| Tensor::f_full(size, value, (kind, Device::Cpu));
    let size = [1, CHANNELS, SIDE, SIDE];
    let scales = full(&[CHANNELS], 1, Kind::Float)?;
    let weights = full(&[CHANNELS, CHANNELS, 3, 3], weight, Kind::Int8)?;
    let found = QuantizedConvolution {
        input: &crate::layer::channels_last(&full(&size, 255, Kind::Uint8)?)?,
        weight: &pack_quantized(&weights, &scales, size)?,
        scales: &scales,
        zero_points: &full(&[CHANNELS], 0, Kind::Int)?,
        bias: &full(&[CHANNELS], 0, Kind::Float)?,
        relu: false,
        narrow: false,
        kind: Kind::Float,
    };
    let found = found.compute()?.f_double_value(&[0, 0, SIDE / 2, SIDE / 2])?;
    // Of nine taps; f32 has it to the number.
    Ok(found == (9 * CHANNELS * 255 * weight) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_weights_have_the_right_sums() {
        let steps = weight_steps().unwrap();
        assert!([64, 127].contains(&steps), "{steps}");
        assert!(sums_are_exact(steps).unwrap() && sums_are_exact(-steps).unwrap());
        assert!(!crate::processor::has_vnni() || steps == 127, "7 bits where 8 are right");
    }
}
