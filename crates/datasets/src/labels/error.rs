//! What is wrong with ground truth.

use std::io;
use std::path::PathBuf;

use protoguard_frames::DecodeError;
use protoguard_frames::labels::LabelArrayError;

use crate::matlab::MatError;

/// Ground truth that does not describe the videos.
#[derive(Debug, thiserror::Error)]
pub enum LabelsError {
    /// No label file beside the data.
    #[error("no label file in {root:?}; expected {expected}")]
    NotFound {
        /// The data set's folder.
        root: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// More than one label file beside the data.
    #[error("{found} label files in {root:?} ({names}); name the one to use")]
    Ambiguous {
        /// The data set's folder.
        root: PathBuf,
        /// How many there are.
        found: usize,
        /// Their names.
        names: String,
    },
    /// The file is no array of labels of these videos.
    #[error(transparent)]
    Array(#[from] LabelArrayError),
    /// A file whose name tells no format of labels.
    #[error("label file {path:?} is of an unknown kind; expected .npy, .csv or .m")]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// A video's own label file has another number of labels than the video has frames.
    #[error(
        "label file {path:?} has {found} labels; {expected} are expected, one for each frame of video {video}"
    )]
    VideoLength {
        /// The file.
        path: PathBuf,
        /// Labels in the file.
        found: usize,
        /// The video's frames.
        expected: usize,
        /// The video's name.
        video: String,
    },
    /// A line that is not of the file's format.
    #[error("label file {path:?}, line {line}: found {found:?}; expected {expected}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What stands there.
        found: String,
        /// What should.
        expected: &'static str,
    },
    /// A range of frames that the video does not have.
    #[error(
        "label file {path:?} calls frames {first} to {last} of video {video} abnormal; the video has frames {begin} to {end}"
    )]
    Range {
        /// The file.
        path: PathBuf,
        /// The video's name.
        video: String,
        /// First frame of the range, as the file counts.
        first: usize,
        /// Last frame of the range.
        last: usize,
        /// The video's first frame, as the file counts.
        begin: usize,
        /// Its last.
        end: usize,
    },
    /// A test video that the ground truth does not mention.
    #[error("no ground truth for video {video} in {path:?}; expected {expected}")]
    NoEntry {
        /// Where it was looked for.
        path: PathBuf,
        /// The video's name.
        video: String,
        /// What should be there.
        expected: &'static str,
    },
    /// The ground truth names a video that is not there.
    #[error("label file {path:?} names video {video:?}; the test videos are {accepted}")]
    NoVideo {
        /// The file.
        path: PathBuf,
        /// The name.
        video: String,
        /// The names there are.
        accepted: String,
    },
    /// A file of MATLAB masks that cannot be read.
    #[error("label file {path:?}: {source}")]
    Matlab {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: MatError,
    },
    /// A mask that is no picture.
    #[error("mask {path:?}: {source}")]
    Mask {
        /// The file.
        path: PathBuf,
        /// What is wrong with its bytes.
        source: DecodeError,
    },
    /// Another number of masks than the video has frames.
    #[error(
        "{path:?} has {found} masks; {expected} are expected, one for each frame of video {video}"
    )]
    MaskCount {
        /// The folder, or the file of all masks.
        path: PathBuf,
        /// Masks in it.
        found: usize,
        /// The video's frames.
        expected: usize,
        /// The video's name.
        video: String,
    },
    /// A mask whose size differs from the first of its video.
    #[error(
        "mask {path:?} is {height}x{width} pixels; {first_height}x{first_width} is expected, the size of the video's first mask"
    )]
    MaskSize {
        /// The file.
        path: PathBuf,
        /// Its height in pixels.
        height: usize,
        /// Its width in pixels.
        width: usize,
        /// Height of the video's first mask.
        first_height: usize,
        /// Width of the video's first mask.
        first_width: usize,
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
