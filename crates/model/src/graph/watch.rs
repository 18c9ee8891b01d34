//! What the layers of a graph make, noted as they make it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use protoguard_checkpoint::ActivationRanges;
use tch::{Kind, Tensor};

use crate::error::Result;

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

    /// What was seen so far.
    pub(crate) fn ranges(&self) -> Result<ActivationRanges> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A layer without a ReLU may have a channel below zero.
        let ranges = |largest: &Tensor| -> Result<Vec<f32>> {
            Ok(Vec::try_from(largest.f_clamp_min(0.0)?)?)
        };
        let ranges = seen.iter().map(|(layer, largest)| Ok((layer.clone(), ranges(largest)?)));
        ranges.collect::<Result<_>>().map(ActivationRanges::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(of: &[(&str, [f32; 2])]) -> ActivationRanges {
        let ranges = of.iter().map(|&(layer, ranges)| (layer.to_owned(), ranges.to_vec()));
        ActivationRanges::new(ranges.collect())
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
}
