use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use npyz::{DType, Deserialize, NpyFile, TypeChar};

use super::Video;

/// One label a frame of every test video: `true` is abnormal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    by_video: Vec<Vec<bool>>,
}

/// A label file that does not describe the videos.
#[derive(Debug, thiserror::Error)]
pub enum LabelsError {
    /// No label file beside the data.
    #[error(
        "no label file in {root:?}; expected frame_labels.npy or one file named *frame_labels*.npy"
    )]
    NotFound {
        /// The data set's folder.
        root: PathBuf,
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
        /// Frames of all test videos.
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
        /// Position in the concatenated videos.
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

impl Labels {
    /// Labels that are already in memory, one list a video.
    pub fn new(by_video: Vec<Vec<bool>>) -> Self {
        Self { by_video }
    }

    /// The label file beside a data set: `frame_labels.npy`, or the only `*frame_labels*.npy`.
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
            if name.contains("frame_labels") && name.ends_with(".npy") && !name.starts_with('.') {
                names.push(name);
            }
        }
        names.sort();
        match names.as_slice() {
            [] => Err(LabelsError::NotFound { root: root.to_owned() }),
            [name] => Ok(root.join(name)),
            several => Err(LabelsError::Ambiguous {
                root: root.to_owned(),
                found: several.len(),
                names: several.join(", "),
            }),
        }
    }

    /// Reads an npy file of labels, concatenated over `videos` in their order.
    ///
    /// # Errors
    /// When the file is no such array, has another length than the videos have frames, or holds a
    /// value other than 0 and 1.
    pub fn read(path: &Path, videos: &[Video]) -> Result<Self, LabelsError> {
        let array = Array::read(path)?;
        let expected = videos.iter().map(|video| video.frames.len()).sum();
        if !matches!(array.shape.as_slice(), [_] | [1, _]) {
            return Err(LabelsError::Shape { path: path.into(), found: array.shape, expected });
        }
        let found = array.values.len();
        if found != expected {
            let videos = videos.len();
            return Err(LabelsError::Length { path: path.into(), found, expected, videos });
        }
        if let Some(index) = array.values.iter().position(|&v| v != 0.0 && v != 1.0) {
            let found = array.values[index];
            return Err(LabelsError::Value { path: path.into(), found, index });
        }
        let mut values = array.values.into_iter().map(|value| value == 1.0);
        let by_video =
            videos.iter().map(|v| values.by_ref().take(v.frames.len()).collect()).collect();
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

/// Labels are few: every type is widened to the one that holds them all.
struct Array {
    shape: Vec<u64>,
    values: Vec<f64>,
}

impl Array {
    fn read(path: &Path) -> Result<Self, LabelsError> {
        let broken = |error: io::Error| LabelsError::NotAnArray {
            path: path.into(),
            reason: error.to_string(),
        };
        let file =
            File::open(path).map_err(|source| LabelsError::Io { path: path.into(), source })?;
        let size = file.metadata().map_or(u64::MAX, |metadata| metadata.len());
        let npy = NpyFile::new(BufReader::new(file)).map_err(broken)?;
        let shape = npy.shape().to_vec();
        let elements = shape.iter().try_fold(1u64, |all, &n| all.checked_mul(n));
        if elements.is_none_or(|elements| elements > size) {
            return Err(broken(io::Error::other(format!("shape {shape:?} exceeds the file"))));
        }
        let dtype = npy.dtype();
        let DType::Plain(ty) = &dtype else {
            return Err(LabelsError::Type { path: path.into(), found: dtype.descr() });
        };
        let values = match (ty.type_char(), ty.size_field()) {
            (TypeChar::Bool, 1) => widen::<bool>(npy, f64::from),
            (TypeChar::Uint, 1) => widen::<u8>(npy, f64::from),
            (TypeChar::Int, 1) => widen::<i8>(npy, f64::from),
            (TypeChar::Int, 2) => widen::<i16>(npy, f64::from),
            (TypeChar::Int, 4) => widen::<i32>(npy, f64::from),
            (TypeChar::Int, 8) => widen::<i64>(npy, |value| value as f64),
            (TypeChar::Float, 4) => widen::<f32>(npy, f64::from),
            (TypeChar::Float, 8) => widen::<f64>(npy, |value| value),
            _ => return Err(LabelsError::Type { path: path.into(), found: dtype.descr() }),
        };
        Ok(Self { shape, values: values.map_err(broken)? })
    }
}

fn widen<T: Deserialize>(
    npy: NpyFile<BufReader<File>>,
    to_f64: impl Fn(T) -> f64,
) -> io::Result<Vec<f64>> {
    Ok(npy.into_vec::<T>()?.into_iter().map(to_f64).collect())
}
