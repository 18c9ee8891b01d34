//! A trained network as one file of plain bytes.
//!
//! The file is safetensors: a JSON header and raw arrays, no pickle and no code. The header's
//! `__metadata__` has one entry, `protoguard`, itself JSON:
//! ```text
//! { "format_version": 3, "content_hash": "<sha256>", "content": {
//!     "model": …, "preprocessing": …, "training": …, "calibrations": …, "golden": … } }
//! ```
//! Tensors are the network's by their paths, `golden.clip`, what int8 makes its steps of under
//! `activation_ranges.` (since format 2), and the optimiser's state under `optimizer.`. Calibrations
//! have a detector since format 3. The hash covers the text of `content` and every tensor. The same content makes
//! the same file, byte for byte.
//!
//! A [`Checkpoint`] holds no tensor, so that worker threads can share one; and it cannot be had
//! without passing the checks.

mod array;
mod array_file;
mod error;
mod golden;
mod hash;
mod metadata;
mod read;
mod validate;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use protoguard_core::Calibration;

pub use array::{Array, Dtype};
pub use array_file::ArrayFile;
pub use error::CheckpointError;
pub use golden::Golden;
pub use metadata::{GoldenScores, HeldOut, Preprocessing, SCALING, TrainingRecord};

use crate::config::ModelConfig;
use crate::ranges::ActivationRanges;
use metadata::Metadata;

/// The format that this program writes, and the newest it reads.
pub const FORMAT_VERSION: u64 = 3;

/// Key of the JSON in the header's `__metadata__`.
const METADATA_KEY: &str = "protoguard";
const GOLDEN_CLIP: &str = "golden.clip";
const OPTIMIZER_PREFIX: &str = "optimizer.";
pub(crate) const RANGES_PREFIX: &str = "activation_ranges.";

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
    /// The network's parameters and buffers by path; see [`crate::Network::to_arrays`].
    pub tensors: BTreeMap<String, Array>,
    /// The optimiser's state, named as the optimiser likes; empty where training cannot go on.
    pub optimizer: BTreeMap<String, Array>,
}

/// Checked content and its hash.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    content: CheckpointContent,
    hash: String,
}

impl Checkpoint {
    /// Digits of the hash that make a version.
    const VERSION_DIGITS: usize = 12;

    /// Checks content and hashes it.
    ///
    /// # Errors
    /// When the architecture is out of bounds, or a tensor is missing, unexpected, of the wrong
    /// shape or type, or not finite.
    pub fn new(content: CheckpointContent) -> Result<Self, CheckpointError> {
        validate::validate(&content)?;
        let hash = hash::of(&content.metadata_json()?, &content.named_arrays());
        Ok(Self { content, hash })
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// Each way in which a file may be wrong has its own; see [`CheckpointError`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        read::read(path.as_ref())
    }

    /// Writes the file whole or not at all: to a temporary file in the same folder, synced and
    /// renamed, and the folder synced.
    ///
    /// # Errors
    /// When the file system refuses; what lay at `path` is then as before.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        let text = self.content.metadata_json()?;
        let metadata = envelope(METADATA_KEY, &self.hash, &text)?;
        write::write(path.as_ref(), metadata, &self.content.named_arrays())
    }

    /// What it is made of.
    pub fn content(&self) -> &CheckpointContent {
        &self.content
    }

    /// Gives the content up, for a change and a new checkpoint.
    pub fn into_content(self) -> CheckpointContent {
        self.content
    }

    /// SHA-256 of the content in hexadecimal digits.
    pub fn content_hash(&self) -> &str {
        &self.hash
    }

    /// The first digits of the hash: a name for these weights.
    pub fn version(&self) -> &str {
        &self.hash[..Self::VERSION_DIGITS]
    }

    /// Frees the optimiser's state, which serving does not need. The hash stays the file's.
    pub fn drop_optimizer(&mut self) {
        self.content.optimizer = BTreeMap::new();
    }
}

impl CheckpointContent {
    fn metadata_json(&self) -> Result<String, CheckpointError> {
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
    fn named_arrays(&self) -> BTreeMap<String, std::borrow::Cow<'_, Array>> {
        use std::borrow::Cow;
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
}

/// The entry of a file's header: its format, its hash and its content.
fn envelope(
    key: &str,
    hash: &str,
    content: &str,
) -> Result<HashMap<String, String>, CheckpointError> {
    let content: serde_json::Value = serde_json::from_str(content).map_err(metadata_error)?;
    let envelope = serde_json::json!({
        "format_version": FORMAT_VERSION,
        "content_hash": hash,
        "content": content,
    });
    Ok(HashMap::from([(key.to_owned(), envelope.to_string())]))
}

/// Ends the name of a file that is still being written.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// Begins the name under which the file at `path` is written before it is renamed. A program that
/// was killed in between leaves such a file behind.
pub fn temporary_prefix(path: &Path) -> String {
    format!(".{}-", path.file_name().unwrap_or_default().to_string_lossy())
}

fn metadata_error(error: serde_json::Error) -> CheckpointError {
    CheckpointError::Metadata { reason: error.to_string() }
}
