//! What keeps a folder or a file from being read as videos.

use std::io;
use std::path::PathBuf;

use crate::DecodeError;

/// A folder or a file that is no video or frame.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The folder is not there.
    #[error("folder {path:?} does not exist; expected {expected}")]
    NoFolder {
        /// The folder that was looked for.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// A file where a folder is needed.
    #[error("{path:?} is a file; expected {expected}")]
    NotAFolder {
        /// The path that was given.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// A folder without a usable entry.
    #[error("folder {path:?} has {found} and no frames; expected {expected}")]
    Empty {
        /// The folder.
        path: PathBuf,
        /// What is in it instead.
        found: String,
        /// What should be there.
        expected: &'static str,
    },
    /// Two videos of one half have the same name, such as `01.avi` and a folder `01`.
    #[error("video {name:?} is in {folder:?} twice; expected one file or folder a video")]
    Twice {
        /// The folder of both.
        folder: PathBuf,
        /// The name.
        name: String,
    },
    /// A video too short for one clip.
    #[error(
        "video {path:?} has {found} frames; at least {needed} are needed (t past frames and a target)"
    )]
    TooShort {
        /// The video's file or folder.
        path: PathBuf,
        /// Its frames.
        found: usize,
        /// `t + 1`.
        needed: usize,
    },
    /// A frame whose size differs from the first of its video.
    #[error(
        "frame {path:?} is {height}x{width} pixels; {first_height}x{first_width} is expected, the size of the video's first frame"
    )]
    MixedSizes {
        /// The first odd frame.
        path: PathBuf,
        /// Its height in pixels.
        height: usize,
        /// Its width in pixels.
        width: usize,
        /// Height of the video's first frame.
        first_height: usize,
        /// Width of the video's first frame.
        first_width: usize,
    },
    /// A file that holds no picture.
    #[error("frame {path:?}: {source}")]
    Frame {
        /// The file.
        path: PathBuf,
        /// What is wrong with its bytes.
        source: DecodeError,
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
