//! One label a frame, from each form in which ground truth is shipped.

mod array;
mod error;
mod masks;
mod pixels;
mod ranges;
mod truth;

use std::fs;
use std::path::{Path, PathBuf};

pub use error::LabelsError;
pub use pixels::PixelTruth;
pub use truth::{Agreement, ClipMasks, GroundTruth};

use array::Array;

/// What a label file beside the data is called.
const EXPECTED: &str =
    "frame_labels.npy, or one file named *frame_labels*.npy, or labels.csv (video,first,last)";

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

    /// The label file beside a data set: `frame_labels.npy`, or the only `*frame_labels*.npy`, or
    /// `labels.csv`.
    ///
    /// # Errors
    /// When there is none, or there are several.
    pub fn find(root: &Path) -> Result<PathBuf, LabelsError> {
        let plain = root.join("frame_labels.npy");
        if plain.is_file() {
            return Ok(plain);
        }
        let io = |source| LabelsError::Io { path: root.to_owned(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(root).map_err(io)? {
            let name = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
            let array = name.contains("frame_labels") && name.ends_with(".npy");
            if (array && !name.starts_with('.')) || name == "labels.csv" {
                names.push(name);
            }
        }
        names.sort();
        match names.as_slice() {
            [] => Err(LabelsError::NotFound { root: root.to_owned(), expected: EXPECTED }),
            [name] => Ok(root.join(name)),
            several => Err(LabelsError::Ambiguous {
                root: root.to_owned(),
                found: several.len(),
                names: several.join(", "),
            }),
        }
    }

    /// Reads an npy file of labels, concatenated over videos of `frames` frames each.
    ///
    /// # Errors
    /// When the file is no such array, has another length than the videos have frames, or holds a
    /// value other than 0 and 1.
    pub fn read(path: &Path, frames: &[usize]) -> Result<Self, LabelsError> {
        let expected = frames.iter().sum();
        let values = Array::read(path)?.labels(path, expected)?;
        let found = values.len();
        if found != expected {
            let videos = frames.len();
            return Err(LabelsError::Length { path: path.into(), found, expected, videos });
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
