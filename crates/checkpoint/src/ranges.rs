//! How large activations become on video that the network knows, which decides what a step of
//! their u8 form is worth.

use std::collections::BTreeMap;

use crate::array::Array;
use crate::error::CheckpointError;
use crate::format::RANGES_PREFIX;

/// Steps of a u8.
const STEPS: f64 = 255.0;
/// Of a channel that is silent on every clip; any step would do.
const SMALLEST: f64 = 1e-6;

/// The largest activation of each channel on some clips, by the path of the layer that makes it,
/// such as `encoder.1.conv1`. Empty for a checkpoint that never had them measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActivationRanges(BTreeMap<String, Vec<f32>>);

impl ActivationRanges {
    /// Of the largest activations `[C]` by the path of their layer.
    pub fn new(by_layer: BTreeMap<String, Vec<f32>>) -> Self {
        Self(by_layer)
    }

    /// The largest range of each layer.
    pub fn by_layer(&self) -> BTreeMap<&str, f32> {
        let largest = |ranges: &Vec<f32>| ranges.iter().copied().fold(0.0, f32::max);
        self.0.iter().map(|(layer, ranges)| (layer.as_str(), largest(ranges))).collect()
    }

    /// The larger range of each channel: steps that serve both scenes.
    #[must_use]
    pub fn joined(mut self, other: Self) -> Self {
        for (layer, ranges) in other.0 {
            let known = self.0.entry(layer).or_insert_with(|| ranges.clone());
            known.iter_mut().zip(ranges).for_each(|(known, range)| *known = known.max(range));
        }
        self
    }

    /// `[C]` in f32 by layer.
    pub(super) fn arrays(&self) -> impl Iterator<Item = (&str, Array)> {
        let array = |ranges: &Vec<f32>| Array::from_f32(vec![ranges.len()], ranges);
        self.0.iter().filter_map(move |(layer, ranges)| Some((layer.as_str(), array(ranges)?)))
    }

    /// Takes the ranges of a layer back.
    pub(super) fn add(&mut self, layer: &str, array: &Array) -> Result<(), CheckpointError> {
        let ranges = array.to_f32().ok_or_else(|| CheckpointError::Dtype {
            name: format!("{RANGES_PREFIX}{layer}"),
            found: array.dtype().to_string(),
            expected: "F32",
        })?;
        self.0.insert(layer.to_owned(), ranges);
        Ok(())
    }

    /// What one step of each channel of the layer's output is worth: `[C]` in f64.
    ///
    /// # Errors
    /// When the layer's ranges were never measured, or are of another number of channels.
    pub fn steps(&self, layer: &str, channels: usize) -> Result<Vec<f64>, CheckpointError> {
        let missing = || CheckpointError::MissingRanges { layer: layer.to_owned() };
        let known = self.0.get(layer).filter(|ranges| ranges.len() == channels);
        let ranges = known.ok_or_else(missing)?.iter();
        Ok(ranges.map(|&range| f64::from(range).max(SMALLEST) / STEPS).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(of: &[(&str, [f32; 2])]) -> ActivationRanges {
        let ranges = of.iter().map(|&(layer, ranges)| (layer.to_owned(), ranges.to_vec()));
        ActivationRanges(ranges.collect())
    }

    #[test]
    fn joined_ranges_are_the_larger_ones() {
        let joined = ranges(&[("a", [1.0, 6.0]), ("b", [5.0, 0.0])]);
        let joined = joined.joined(ranges(&[("a", [2.0, 3.0]), ("c", [3.0, 3.0])]));
        assert_eq!(joined, ranges(&[("a", [2.0, 6.0]), ("b", [5.0, 0.0]), ("c", [3.0, 3.0])]));
        assert_eq!(joined.by_layer()["a"], 6.0);
        assert_eq!(joined.steps("b", 2).unwrap(), [5.0 / 255.0, 1e-6 / 255.0]);
        for (layer, channels) in [("d", 2), ("a", 3)] {
            let error = joined.steps(layer, channels).unwrap_err().to_string();
            assert!(error.contains("protoguard-trainer calibrate"), "{error}");
        }
    }
}
