//! One label a frame, from an npy array.

mod array;
mod error;

use std::path::Path;

pub use array::read_label_array;
pub use error::LabelArrayError;

/// One label a frame of every test video: `true` is abnormal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    by_video: Vec<Vec<bool>>,
}

impl Labels {
    /// Labels that are already in memory, one list a video.
    pub fn new(by_video: Vec<Vec<bool>>) -> Self {
        Self { by_video }
    }

    /// Reads an npy file of labels, concatenated over videos of `frames` frames each.
    ///
    /// # Errors
    /// When the file is no such array, has another length than the videos have frames, or holds a
    /// value other than 0 and 1.
    pub fn read(path: &Path, frames: &[usize]) -> Result<Self, LabelArrayError> {
        let expected = frames.iter().sum();
        let values = read_label_array(path, expected)?;
        let found = values.len();
        if found != expected {
            let videos = frames.len();
            return Err(LabelArrayError::Length { path: path.into(), found, expected, videos });
        }
        let mut values = values.into_iter();
        let by_video = frames.iter().map(|&count| values.by_ref().take(count).collect()).collect();
        Ok(Self { by_video })
    }

    /// The labels of one video, a frame each.
    ///
    /// # Panics
    /// When there is no such video.
    pub fn video(&self, index: usize) -> &[bool] {
        &self.by_video[index]
    }

    /// All videos, in order.
    pub fn videos(&self) -> &[Vec<bool>] {
        &self.by_video
    }

    /// Labels of all videos together.
    pub fn frames(&self) -> usize {
        self.by_video.iter().map(Vec::len).sum()
    }

    /// Abnormal frames of all videos together.
    pub fn positives(&self) -> usize {
        self.by_video.iter().flatten().filter(|&&label| label).count()
    }
}
