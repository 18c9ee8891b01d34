//! What keeps a file from being read as a video.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use crate::DecodeError;

/// A video file that gives no more frames.
#[derive(Debug, thiserror::Error)]
pub enum VideoError {
    /// The file is not there.
    #[error("video {path:?} does not exist; expected a video file")]
    NoFile {
        /// The path that was given.
        path: PathBuf,
    },
    /// A folder where a file is needed.
    #[error("{path:?} is a folder; expected a video file")]
    Folder {
        /// The path that was given.
        path: PathBuf,
    },
    /// The program is not installed.
    #[error(
        "program {program:?} is not installed, and {path:?} needs it; install ffmpeg, or give a folder of frames"
    )]
    NoProgram {
        /// The program that was looked for.
        program: OsString,
        /// The video.
        path: PathBuf,
    },
    /// `ffmpeg` found no picture in the file.
    #[error("{path:?} cannot be decoded as a video: {reason}")]
    NotAVideo {
        /// The file.
        path: PathBuf,
        /// The last line that `ffmpeg` wrote.
        reason: String,
    },
    /// `ffmpeg` gave frames and then complained: the file breaks off or is damaged.
    #[error("video {path:?} is damaged; {frames} frames could be decoded: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Frames that were given before this error.
        frames: usize,
        /// The last line that `ffmpeg` wrote.
        reason: String,
    },
    /// A frame above the limits.
    #[error("video {path:?}: {source}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The declared size and the limits.
        source: DecodeError,
    },
    /// The pipe or the program failed.
    #[error("cannot read {path:?} through ffmpeg: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}
