//! What is wrong with an array of labels.

use std::io;
use std::path::PathBuf;

/// An array that does not describe the videos.
#[derive(Debug, thiserror::Error)]
pub enum LabelArrayError {
    /// The file cannot be read as an array.
    #[error("label file {path:?} is no npy array: {reason}")]
    NotAnArray {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An array of another kind.
    #[error(
        "label file {path:?} has values of type {found}; bool, u1, i1, i2, i4, i8, f4 or f8 is expected"
    )]
    Type {
        /// The file.
        path: PathBuf,
        /// Its element type, as NumPy writes it.
        found: String,
    },
    /// Another shape than one label a frame.
    #[error("label file {path:?} has shape {found:?}; [{expected}] or [1, {expected}] is expected")]
    Shape {
        /// The file.
        path: PathBuf,
        /// The array's shape.
        found: Vec<u64>,
        /// Frames that it should describe.
        expected: usize,
    },
    /// Another number of labels than frames.
    #[error(
        "label file {path:?} has {found} labels; {expected} are expected, one for each frame of {videos} test videos"
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Labels in the file.
        found: usize,
        /// Frames of all test videos.
        expected: usize,
        /// Test videos.
        videos: usize,
    },
    /// A value that is neither.
    #[error(
        "label file {path:?} has the value {found} at frame {index}; 0 (normal) or 1 (abnormal) is expected"
    )]
    Value {
        /// The file.
        path: PathBuf,
        /// The value.
        found: f64,
        /// Position in the array.
        index: usize,
    },
    /// The operating system refused.
    #[error("cannot read {path:?}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}
