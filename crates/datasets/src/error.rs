//! What keeps a folder from being used as a data set.

use std::path::PathBuf;

use protoguard_core::FrameInterval;
use protoguard_frames::files::FilesError;
use protoguard_frames::pace::{PaceError, apart};
use protoguard_frames::video::VideoError;

use crate::layout::Layout;
use crate::store::CacheError;

/// A folder or a file that is no data set, video or frame.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
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
    /// No video or frame lies there.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A video file that gives no frames, or breaks off.
    #[error(transparent)]
    Video(#[from] VideoError),
    /// A video's interval is not known, or not to be had.
    #[error(transparent)]
    Pace(#[from] PaceError),
    /// Videos that a model cannot learn from together.
    #[error(
        "frames of video {fast:?} are {}, those of {slow:?} {}; videos of one rate are expected, or a rate that all can be thinned to (--train-fps)",
        apart(*fast_interval), apart(*slow_interval)
    )]
    MixedIntervals {
        /// The video of the shortest interval.
        fast: String,
        /// Its interval.
        fast_interval: FrameInterval,
        /// The video of the longest interval.
        slow: String,
        /// Its interval.
        slow_interval: FrameInterval,
    },
    /// The frame cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}
