//! Folders of frames and their labels.
//!
//! ```text
//! root/training/frames/01/000.jpg ...   normal videos, one folder each
//! root/testing/frames/01/000.jpg ...    videos to judge
//! root/frame_labels.npy                 one label a test frame, videos in order
//! ```

mod labels;
mod natural;
mod videos;

pub use labels::{Labels, LabelsError};
pub use videos::{DatasetError, Video, testing_videos, training_videos, videos_under};
