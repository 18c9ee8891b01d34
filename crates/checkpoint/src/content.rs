//! What a checkpoint is made of, and how that is spread over the arrays and the JSON of a file.

use std::borrow::Cow;
use std::collections::BTreeMap;

use protoguard_core::Calibration;

use crate::array::Array;
use crate::config::ModelConfig;
use crate::error::{CheckpointError, metadata_error};
use crate::format::{GOLDEN_CLIP, OPTIMIZER_PREFIX, RANGES_PREFIX};
use crate::golden::Golden;
use crate::metadata::{Metadata, Preprocessing, TrainingRecord};
use crate::ranges::ActivationRanges;

/// What a checkpoint is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointContent {
    /// The architecture.
    pub model: ModelConfig,
    /// How pixels become the network's input.
    pub preprocessing: Preprocessing,
    /// Where the weights come from.
    pub training: TrainingRecord,
    /// Bounds and thresholds; the first without a scene is the default.
    pub calibrations: Vec<Calibration>,
    /// What int8 makes its steps of.
    pub activation_ranges: ActivationRanges,
    /// A clip whose scores are known.
    pub golden: Option<Golden>,
    /// The network's parameters and buffers by their paths, which [`crate::plan`] lists.
    pub tensors: BTreeMap<String, Array>,
    /// The optimiser's state, named as the optimiser likes; empty where training cannot go on.
    pub optimizer: BTreeMap<String, Array>,
}

impl CheckpointContent {
    /// The text of `content` in the file.
    pub(super) fn metadata_json(&self) -> Result<String, CheckpointError> {
        let metadata = Metadata {
            model: self.model.clone(),
            preprocessing: self.preprocessing.clone(),
            training: self.training.clone(),
            calibrations: self.calibrations.clone(),
            golden: self.golden.as_ref().map(Golden::scores),
        };
        let value = serde_json::to_value(&metadata).map_err(metadata_error)?;
        Ok(value.to_string())
    }

    /// Every array under its name in the file.
    pub(super) fn named_arrays(&self) -> BTreeMap<String, Cow<'_, Array>> {
        let borrow = |(name, array)| (name, Cow::Borrowed(array));
        let tensors = self.tensors.iter().map(|(name, array)| (name.clone(), array));
        let optimizer =
            self.optimizer.iter().map(|(name, array)| (format!("{OPTIMIZER_PREFIX}{name}"), array));
        let golden = self.golden.iter();
        let golden = golden.map(|g| (GOLDEN_CLIP.to_owned(), Cow::Owned(g.to_array())));
        let ranges = self.activation_ranges.arrays();
        let ranges =
            ranges.map(|(layer, array)| (format!("{RANGES_PREFIX}{layer}"), Cow::Owned(array)));
        tensors.chain(optimizer).map(borrow).chain(golden).chain(ranges).collect()
    }

    /// Sorts arrays to their places by name.
    pub(super) fn assemble(
        metadata: Metadata,
        arrays: BTreeMap<String, Array>,
    ) -> Result<Self, CheckpointError> {
        let mut clip = None;
        let (mut tensors, mut optimizer) = (BTreeMap::new(), BTreeMap::new());
        let mut activation_ranges = ActivationRanges::default();
        for (name, array) in arrays {
            if name == GOLDEN_CLIP {
                clip = Some(array);
            } else if let Some(name) = name.strip_prefix(OPTIMIZER_PREFIX) {
                optimizer.insert(name.to_owned(), array);
            } else if let Some(layer) = name.strip_prefix(RANGES_PREFIX) {
                activation_ranges.add(layer, &array)?;
            } else {
                tensors.insert(name, array);
            }
        }
        let golden = match (clip, metadata.golden) {
            (Some(clip), Some(scores)) => Some(
                Golden::from_array(&clip, scores, metadata.model.shape)
                    .ok_or(CheckpointError::GoldenClip { found: "of another shape or type" })?,
            ),
            (None, None) => None,
            (Some(_), None) => return Err(CheckpointError::GoldenClip { found: "without scores" }),
            (None, Some(_)) => return Err(CheckpointError::GoldenClip { found: "missing" }),
        };
        let Metadata { model, preprocessing, training, calibrations, .. } = metadata;
        Ok(Self {
            model,
            preprocessing,
            training,
            calibrations,
            activation_ranges,
            golden,
            tensors,
            optimizer,
        })
    }
}
