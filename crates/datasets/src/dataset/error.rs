use std::io;
use std::path::PathBuf;

use protoguard_frames::DecodeError;
use protoguard_frames::video::VideoError;

use super::Layout;
use crate::store::CacheError;

/// A folder or a file that is no data set, video or frame.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
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
    /// No layout fits the folder.
    #[error("folder {path:?} holds no data set of a known layout; expected {expected}")]
    UnknownLayout {
        /// The folder.
        path: PathBuf,
        /// What each layout looks like.
        expected: &'static str,
    },
    /// Several data sets lie in the folder.
    #[error("folder {path:?} holds {found} data sets ({names}); name one of them")]
    SeveralDatasets {
        /// The folder.
        path: PathBuf,
        /// How many there are.
        found: usize,
        /// Their folders.
        names: String,
    },
    /// The folder does not have the layout that was asked for.
    #[error("folder {path:?} does not have the layout {layout}; expected {expected}")]
    OtherLayout {
        /// The folder.
        path: PathBuf,
        /// The layout that was asked for.
        layout: Layout,
        /// What it looks like.
        expected: &'static str,
    },
    /// A name that is no layout.
    #[error("layout {found:?} is unknown; expected {accepted}")]
    LayoutName {
        /// What was given.
        found: String,
        /// The names there are.
        accepted: String,
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
    /// A video file that gives no frames, or breaks off.
    #[error(transparent)]
    Video(#[from] VideoError),
    /// The frame cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The operating system refused.
    #[error("cannot read {path:?}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}
