//! Why a checkpoint cannot be written, read or used.

use std::path::PathBuf;

use crate::config::ConfigError;
use crate::format::FORMAT_VERSION;
use crate::metadata::SCALING;

/// Why a checkpoint cannot be written, read or used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CheckpointError {
    /// The file system refused.
    #[error("checkpoint {path:?} cannot be {action}: {reason}")]
    Io {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// The system's words.
        reason: String,
    },
    /// Some other file.
    #[error("{path:?} is not a checkpoint of protoguard: {reason}")]
    NotACheckpoint {
        /// The file.
        path: PathBuf,
        /// What gave it away.
        reason: String,
    },
    /// The file ends before its header says.
    #[error("checkpoint {path:?} is truncated: it has {found} bytes, {expected} are expected")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: u64,
        /// The length that its header asks for.
        expected: u64,
    },
    /// Written by a later version of this program.
    #[error("checkpoint format is {found}; this program reads up to {FORMAT_VERSION}")]
    NewerFormat {
        /// The file's format version.
        found: u64,
    },
    /// The metadata is not what this format has.
    #[error("checkpoint metadata is invalid: {reason}")]
    Metadata {
        /// The parser's words.
        reason: String,
    },
    /// The architecture is out of bounds.
    #[error("checkpoint model: {0}")]
    Model(#[from] ConfigError),
    /// The pixels were scaled otherwise than this program does.
    #[error("checkpoint scaling is {found:?}; {SCALING:?} is expected")]
    Scaling {
        /// The checkpoint's.
        found: String,
    },
    /// A tensor of the architecture is not there.
    #[error("checkpoint tensor {name} is missing; shape {expected:?} is expected")]
    MissingTensor {
        /// The tensor.
        name: String,
        /// Its shape.
        expected: Vec<usize>,
    },
    /// A tensor that the architecture does not have.
    #[error("checkpoint tensor {name} is unexpected; the model has no tensor of that name")]
    UnexpectedTensor {
        /// The tensor.
        name: String,
    },
    /// A tensor of another shape than the architecture's.
    #[error("checkpoint tensor {name} has shape {found:?}; {expected:?} is expected")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The architecture's.
        expected: Vec<usize>,
    },
    /// A tensor of another element type.
    #[error("checkpoint tensor {name} has dtype {found}; {expected} is expected")]
    Dtype {
        /// The tensor.
        name: String,
        /// Its element type.
        found: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// A NaN or an infinity.
    #[error(
        "checkpoint tensor {name} is not finite at element {index}; finite values are expected"
    )]
    NotFinite {
        /// The tensor, or `metrics.` and the name of a figure.
        name: String,
        /// Position of the first such element.
        index: usize,
    },
    /// A number that no training makes.
    #[error("checkpoint tensor {name} is {found} at element {index}; {accepted} is expected")]
    OutOfRange {
        /// The tensor.
        name: String,
        /// Position of the first such element.
        index: usize,
        /// Its value.
        found: f64,
        /// What is accepted.
        accepted: &'static str,
    },
    /// A detector that no calibration makes.
    #[error(
        "checkpoint calibration {calibration} has a detector out of bounds; what `calibrate` writes is expected"
    )]
    Detector {
        /// The calibration's identifier.
        calibration: String,
    },
    /// Golden clip and golden scores do not come together, or the clip is not the model's shape.
    #[error(
        "checkpoint golden clip is {found}; a clip of the model's shape with its scores is expected"
    )]
    GoldenClip {
        /// What is wrong with it.
        found: &'static str,
    },
    /// The content is not what was hashed when it was written.
    #[error("checkpoint content has hash {found}; {expected} is expected: the file is damaged")]
    Hash {
        /// Of the content that is there.
        found: String,
        /// As written in the file.
        expected: String,
    },
    /// How large a layer's activations become was never measured.
    #[error(
        "checkpoint has no activation ranges of {layer}, which int8 needs; `protoguard-trainer \
         calibrate` measures them"
    )]
    MissingRanges {
        /// The layer.
        layer: String,
    },
    /// The loaded model does not compute what was trained.
    #[error("golden clip scores {score} {found}; {expected} within {tolerance} is expected")]
    Golden {
        /// Which score.
        score: &'static str,
        /// What the loaded model says.
        found: String,
        /// What was recorded.
        expected: String,
        /// Accepted departure.
        tolerance: f64,
    },
}

/// JSON that is not what the format has.
pub(super) fn metadata_error(error: serde_json::Error) -> CheckpointError {
    CheckpointError::Metadata { reason: error.to_string() }
}
