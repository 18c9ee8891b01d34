//! How large activations become on video that the network knows, which decides what a step of
//! their u8 form is worth.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use protoguard_core::{Clip, Outputs, ScorerInput};
use tch::{Kind, Tensor};

use crate::Result;
use crate::checkpoint::{Array, CheckpointError, RANGES_PREFIX};
use crate::graph::InferenceGraph;
use crate::network::Network;
use crate::score_batch::score_batch;

/// Steps of a u8.
const STEPS: f64 = 255.0;
/// Of a channel that is silent on every clip; any step would do.
const SMALLEST: f64 = 1e-6;

/// The largest activation of each channel on some clips, by the path of the layer that makes it,
/// such as `encoder.1.conv1`. Empty for a checkpoint that never had them measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActivationRanges(BTreeMap<String, Vec<f32>>);

impl ActivationRanges {
    /// Runs the network in f32 on clips of normal video.
    ///
    /// # Errors
    /// When a clip does not go with the network, or libtorch refuses.
    pub fn measure(network: &Network, clips: &[Clip]) -> Result<Self> {
        let watch = Watch::default();
        let graph = InferenceGraph::watched(network, watch.clone())?;
        for clip in clips {
            score_batch(&graph, &[ScorerInput { clip: clip.clone(), outputs: Outputs::ALL }])?;
        }
        watch.ranges()
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
    pub(crate) fn arrays(&self) -> impl Iterator<Item = (&str, Array)> {
        let array = |ranges: &Vec<f32>| Array::from_f32(vec![ranges.len()], ranges);
        self.0.iter().filter_map(move |(layer, ranges)| Some((layer.as_str(), array(ranges)?)))
    }

    /// Takes the ranges of a layer back.
    pub(crate) fn add(&mut self, layer: &str, array: &Array) -> Result<(), CheckpointError> {
        let ranges = array.to_f32().ok_or_else(|| CheckpointError::Dtype {
            name: format!("{RANGES_PREFIX}{layer}"),
            found: array.dtype().to_string(),
            expected: "F32",
        })?;
        self.0.insert(layer.to_owned(), ranges);
        Ok(())
    }

    /// What one step of each channel of the layer's output is worth: `[C]` in f64.
    pub(crate) fn steps(&self, layer: &str, channels: usize) -> Result<Vec<f64>> {
        let missing = || CheckpointError::MissingRanges { layer: layer.to_owned() };
        let known = self.0.get(layer).filter(|ranges| ranges.len() == channels);
        let ranges = known.ok_or_else(missing)?.iter();
        Ok(ranges.map(|&range| f64::from(range).max(SMALLEST) / STEPS).collect())
    }
}

/// Notes the largest activations as they are made; clones share the notes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Arc<Mutex<BTreeMap<String, Tensor>>>);

impl Watch {
    /// Notes the largest value of each channel of `output [B, C, h, w]`.
    pub(crate) fn see(&self, layer: &str, output: &Tensor) -> Result<()> {
        let largest = output.f_amax([0i64, 2, 3].as_slice(), false)?.f_to_kind(Kind::Float)?;
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let largest = match seen.get(layer) {
            Some(known) => known.f_maximum(&largest)?,
            None => largest,
        };
        seen.insert(layer.to_owned(), largest);
        Ok(())
    }

    fn ranges(&self) -> Result<ActivationRanges> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A layer without a ReLU may have a channel below zero.
        let ranges = |largest: &Tensor| -> Result<Vec<f32>> {
            Ok(Vec::try_from(largest.f_clamp_min(0.0)?)?)
        };
        let ranges = seen.iter().map(|(layer, largest)| Ok((layer.clone(), ranges(largest)?)));
        ranges.collect::<Result<_>>().map(ActivationRanges)
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
    fn a_watch_takes_the_largest_of_each_channel() {
        let watch = Watch::default();
        // Two clips of two channels of two pixels, and another clip.
        let clips = Tensor::from_slice(&[1.0f32, 2.0, -5.0, 0.5, 4.0, 3.0, -1.0, -2.0]);
        watch.see("a", &clips.reshape([2, 2, 1, 2])).unwrap();
        watch.see("a", &Tensor::from_slice(&[9.0f32, -0.5]).reshape([1, 2, 1, 1])).unwrap();
        assert_eq!(watch.ranges().unwrap(), ranges(&[("a", [9.0, 0.5])]));
        watch.see("b", &Tensor::from_slice(&[1.0f32, -0.5]).reshape([1, 2, 1, 1])).unwrap();
        assert_eq!(watch.ranges().unwrap(), ranges(&[("a", [9.0, 0.5]), ("b", [1.0, 0.0])]));
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
