//! The JSON of a checkpoint.

use std::collections::BTreeMap;

use protoguard_core::{Calibration, FeatureDistance, FrameInterval, PsnrDb};
use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
use crate::health::MemoryHealth;

/// How the network scales 8-bit values, the only way there is.
pub const SCALING: &str = "v / 127.5 - 1";

/// How pixels become the network's input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Identifies the rule by which frames were resized, as the resizer names itself.
    pub resizer: String,
    /// How an 8-bit value is scaled; [`SCALING`].
    pub scaling: String,
}

impl Preprocessing {
    /// The scaling of this version, after the resizer of that name.
    pub fn new(resizer: impl Into<String>) -> Self {
        Self { resizer: resizer.into(), scaling: SCALING.to_owned() }
    }
}

/// Frames of a video that a training held out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldOut {
    /// The video's name.
    pub video: String,
    /// Its scene, where it is known.
    pub scene: Option<String>,
    /// The first of the frames, counted from 0.
    pub first_frame: usize,
    /// How many they are.
    pub frames: usize,
}

/// Where the weights come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingRecord {
    /// The trainer's whole effective configuration.
    pub config: serde_json::Value,
    /// Seed of weights, order and synthesis.
    pub seed: u64,
    /// Epochs finished.
    pub epochs: u64,
    /// What it was trained on, for a person to read.
    pub data: String,
    /// Time between two frames of a clip; absent in files that were written before it was recorded,
    /// and where the video did not say.
    #[serde(default, rename = "frame_interval_ms", skip_serializing_if = "Option::is_none")]
    pub frame_interval: Option<FrameInterval>,
    /// Normal video of the same data that weights were not fitted to; empty where it is not known,
    /// as in files that were written before it was kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_out: Vec<HeldOut>,
    /// Versions of the program and its libraries.
    pub versions: BTreeMap<String, String>,
    /// Figures of the run, such as the validation loss; finite.
    pub metrics: BTreeMap<String, f64>,
    /// The memory at the end; absent without one.
    pub memory_health: Option<MemoryHealth>,
}

/// What the golden clip scored when it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenScores {
    /// PSNR of the predicted frame.
    pub psnr: PsnrDb,
    /// Absent without a memory.
    pub feature_distance: Option<FeatureDistance>,
}

/// The JSON of a checkpoint, beside its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metadata {
    pub(super) model: ModelConfig,
    pub(super) preprocessing: Preprocessing,
    pub(super) training: TrainingRecord,
    pub(super) calibrations: Vec<Calibration>,
    pub(super) golden: Option<GoldenScores>,
}
