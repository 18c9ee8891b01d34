use super::grid::Grid;
use super::{MappedFrame, check};
use crate::metrics::MetricError;

/// Of a value's 32 bits, in an order that numbers have, the first 20 choose its bin: sign, exponent
/// and 11 bits of the fraction, so that values of one bin differ by less than 0.05 %.
const BITS: u32 = 20;

/// AUC over the pixels of all frames: every pixel has the value of the cell of its frame's map
/// under its centre (no interpolation), and is abnormal where its mask marks it.
///
/// By a histogram of 2²⁰ bins over all finite numbers; values of one bin count as tied.
///
/// # Errors
/// When pixels of one class are missing, masks of one video differ in size, or a map is no single
/// channel of finite values.
pub fn pixel_auc(videos: &[Vec<MappedFrame<'_>>]) -> Result<f64, MetricError> {
    check(videos)?;
    let mut bins = vec![Bin::default(); 1 << BITS];
    for frame in videos.iter().flatten() {
        let grid = Grid::new(frame.map, frame.mask);
        let mut marked = vec![0u64; grid.values.len()];
        if frame.mask.any() {
            for y in 0..frame.mask.height() {
                for x in (0..frame.mask.width()).filter(|&x| frame.mask.get(y, x)) {
                    marked[grid.cell(y, x)] += 1;
                }
            }
        }
        for (cell, (&value, marked)) in grid.values.iter().zip(marked).enumerate() {
            let bin = &mut bins[bin_of(value)];
            bin.abnormal += marked;
            bin.normal += u64::from(grid.pixels(cell)) - marked;
        }
    }
    let (mut abnormal, mut normal, mut twice_won) = (0, 0, 0u128);
    for bin in bins {
        twice_won += u128::from(bin.abnormal) * u128::from(2 * normal + bin.normal);
        abnormal += bin.abnormal;
        normal += bin.normal;
    }
    if abnormal == 0 || normal == 0 {
        let only = if abnormal == 0 { "normal" } else { "abnormal" };
        return Err(MetricError::OnePixelClass { pixels: abnormal + normal, only });
    }
    Ok(twice_won as f64 / 2.0 / abnormal as f64 / normal as f64)
}

#[derive(Clone, Copy, Default)]
struct Bin {
    abnormal: u64,
    normal: u64,
}

/// The order of the bits of floating-point numbers is that of their values, once those of negative
/// ones are turned round. Both zeros are one number.
fn bin_of(value: f32) -> usize {
    let bits = (value + 0.0).to_bits();
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    (ordered >> (32 - BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_rise_with_values() {
        let values =
            [f32::MIN, -2.0, -1.0, -1e-30, 0.0, 1e-30, 0.5, 0.5004, 1.0, 1.001, 3e7, f32::MAX];
        let bins = values.map(bin_of);
        assert!(bins.is_sorted_by(|a, b| a < b), "{bins:?}");
        assert_eq!(bin_of(-0.0), bin_of(0.0));
        assert!(bin_of(1.0) == bin_of(1.0001) && bin_of(f32::MAX) < 1 << BITS);
    }
}
