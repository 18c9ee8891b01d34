//! How large activations become on video that the network knows, which decides what a step of
//! their u8 form is worth.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use protoguard_core::{Clip, Outputs, ScorerInput};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::Result;
use crate::checkpoint::CheckpointError;
use crate::graph::InferenceGraph;
use crate::network::Network;
use crate::score_batch::score_batch;

/// Steps of a u8.
const STEPS: f64 = 255.0;
/// Of a layer that is silent on every clip; any step would do.
const SMALLEST: f64 = 1e-6;

/// The largest activation of a clip, mean over clips, by the path of the layer that makes it, such
/// as `encoder.1.conv1`. Empty for a checkpoint that never had them measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActivationRanges(BTreeMap<String, f64>);

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
        Ok(watch.ranges())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// By layer.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(layer, &range)| (layer.as_str(), range))
    }

    /// The larger range of each layer: steps that serve both scenes.
    #[must_use]
    pub fn joined(mut self, other: Self) -> Self {
        for (layer, range) in other.0 {
            let known = self.0.entry(layer).or_insert(range);
            *known = known.max(range);
        }
        self
    }

    /// What one step of the layer's output is worth.
    pub(crate) fn step(&self, layer: &str) -> Result<f64> {
        let missing = || CheckpointError::MissingRange { layer: layer.to_owned() };
        let range = *self.0.get(layer).ok_or_else(missing)?;
        Ok(range.max(SMALLEST) / STEPS)
    }
}

/// Notes the largest activations as they are made; clones share the notes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Arc<Mutex<BTreeMap<String, Vec<f64>>>>);

impl Watch {
    /// Notes each clip's largest value of `output [B, C, h, w]`.
    pub(crate) fn see(&self, layer: &str, output: &Tensor) -> Result<()> {
        let largest = output.f_amax([1i64, 2, 3].as_slice(), false)?.f_to_kind(Kind::Double)?;
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.entry(layer.to_owned()).or_default().extend(Vec::<f64>::try_from(largest)?);
        Ok(())
    }

    fn ranges(&self) -> ActivationRanges {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        ActivationRanges(seen.iter().map(|(layer, all)| (layer.clone(), mean(all))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(of: &[(&str, f64)]) -> ActivationRanges {
        ActivationRanges(of.iter().map(|&(layer, range)| (layer.to_owned(), range)).collect())
    }

    #[test]
    fn a_watch_takes_the_mean_of_the_largest() {
        let watch = Watch::default();
        let clips = Tensor::from_slice(&[1.0f32, 2.0, 4.0, 3.0]).reshape([2, 2, 1, 1]);
        watch.see("a", &clips).unwrap();
        watch.see("a", &Tensor::from_slice(&[9.0f32]).reshape([1, 1, 1, 1])).unwrap();
        assert_eq!(watch.ranges(), ranges(&[("a", 5.0)]));
    }

    #[test]
    fn joined_ranges_are_the_larger_ones() {
        let joined = ranges(&[("a", 1.0), ("b", 5.0)]).joined(ranges(&[("a", 2.0), ("c", 3.0)]));
        assert_eq!(joined, ranges(&[("a", 2.0), ("b", 5.0), ("c", 3.0)]));
        assert_eq!(joined.step("b").unwrap(), 5.0 / 255.0);
        let error = joined.step("d").unwrap_err().to_string();
        assert!(error.contains("d") && error.contains("protoguard-trainer calibrate"), "{error}");
    }
}
