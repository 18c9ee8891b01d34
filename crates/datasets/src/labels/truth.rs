//! Where labels come from, in every form, and reading them.

use std::path::{Path, PathBuf};

use protoguard_frames::files::{Video, name_of};
use protoguard_frames::labels::{Labels, read_label_array};
use rayon::prelude::*;

use super::error::LabelsError;
use super::masks::read_masks;
use super::ranges::{TableRange, read_script, read_table};
use crate::matlab;
use crate::numbers::number_in;

/// Where the labels of a data set's test videos come from, not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroundTruth {
    form: Form,
    files: Vec<PathBuf>,
}

/// Those with one file a video hold them in the order of the videos.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One npy array over all test videos.
    Array,
    /// One npy array a video.
    ArrayByVideo,
    /// One table of ranges over all test videos.
    Table,
    /// UCSD's script, one statement a clip.
    Script,
    /// UCSD's folders of mask pictures, one a clip.
    Pictures,
    /// Avenue's MATLAB files, one a video.
    MatlabMasks,
}

/// Name of the variable in Avenue's files.
pub(super) const MASKS: &str = "volLabel";

impl GroundTruth {
    /// One file over all test videos, its form told by its name: an array (`.npy`), a table of
    /// ranges (`.csv`) or UCSD's script (`.m`).
    ///
    /// # Errors
    /// When the name ends otherwise.
    pub fn file(path: &Path) -> Result<Self, LabelsError> {
        let form = match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => Form::Array,
            Some("csv") => Form::Table,
            Some("m") => Form::Script,
            _ => return Err(LabelsError::Kind { path: path.to_owned() }),
        };
        Ok(Self { form, files: vec![path.to_owned()] })
    }

    /// One npy array a test video, in their order.
    pub(crate) fn array_by_video(files: Vec<PathBuf>) -> Self {
        Self { form: Form::ArrayByVideo, files }
    }

    /// One folder of mask pictures a test video, in their order.
    pub(crate) fn pictures(folders: Vec<PathBuf>) -> Self {
        Self { form: Form::Pictures, files: folders }
    }

    /// One file of MATLAB masks a test video, in their order.
    pub(crate) fn matlab_masks(files: Vec<PathBuf>) -> Self {
        Self { form: Form::MatlabMasks, files }
    }

    /// The files, or folders of mask pictures, that it rests on, in the order of the videos where
    /// each has its own.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// What it is, for a person to read.
    pub fn describe(&self) -> String {
        let first = self.files.first().map(|path| name_of(path)).unwrap_or_default();
        let several = |what: &str| format!("{} {what}, such as {first}", self.files.len());
        match self.form {
            Form::Array | Form::Table | Form::Script => first,
            Form::ArrayByVideo => several("arrays"),
            Form::Pictures => several("folders of masks"),
            Form::MatlabMasks => several("MATLAB masks"),
        }
    }

    /// Reads the labels of `videos`, which have `frames` frames each.
    ///
    /// # Errors
    /// When a file cannot be read, or describes other frames than there are.
    ///
    /// # Panics
    /// When `videos` and `frames` differ in length.
    pub fn labels(&self, videos: &[Video], frames: &[usize]) -> Result<Labels, LabelsError> {
        assert_eq!(videos.len(), frames.len(), "one number of frames a video");
        match (self.form, self.files.as_slice()) {
            (Form::Array, [path]) => Ok(Labels::read(path, frames)?),
            (Form::Table, [path]) => from_table(path, videos, frames),
            (Form::Script, [path]) => from_script(path, videos, frames),
            _ => {
                let found = self.by_video()?;
                let checked = videos.iter().zip(frames).zip(found).zip(&self.files);
                let checked = checked.map(|(((video, &expected), labels), path)| {
                    of_length(labels, expected, Place { path, video: &video.name })
                });
                Ok(Labels::new(checked.collect::<Result<_, _>>()?))
            }
        }
    }

    /// The labels as each video's own file has them, where each has one.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn by_video(&self) -> Result<Vec<Vec<bool>>, LabelsError> {
        let read = |path: &PathBuf| match self.form {
            Form::Array | Form::Table | Form::Script => Ok(Vec::new()),
            Form::ArrayByVideo => Ok(read_label_array(path, 0)?),
            Form::Pictures => read_masks(path),
            Form::MatlabMasks => matlab::marked_cells(path, MASKS)
                .map_err(|source| LabelsError::Matlab { path: path.clone(), source }),
        };
        let found: Vec<Result<Vec<bool>, LabelsError>> = self.files.par_iter().map(read).collect();
        found.into_iter().collect()
    }

    /// Whether it has one file a video, so that labels can be counted without the videos.
    pub(crate) fn is_by_video(&self) -> bool {
        matches!(self.form, Form::ArrayByVideo | Form::Pictures | Form::MatlabMasks)
    }

    /// How UCSD's script agrees with mask pictures of some of its clips; nothing for other forms.
    ///
    /// # Errors
    /// When the script or a mask cannot be read.
    pub fn agreement(&self, masks: &[ClipMasks]) -> Result<Option<Agreement>, LabelsError> {
        let (Form::Script, [path]) = (self.form, self.files.as_slice()) else { return Ok(None) };
        let entries = read_script(path)?;
        let mut agreement = Agreement { entries: entries.len(), ..Agreement::default() };
        for clip in masks {
            let Some(entry) = clip.number.checked_sub(1).and_then(|index| entries.get(index))
            else {
                continue;
            };
            let marked = read_masks(&clip.folder)?;
            let in_script = |frame: usize| entry.iter().any(|range| range.contains(&frame));
            agreement.frames += marked.len();
            agreement.differing +=
                (1..).zip(&marked).filter(|&(frame, &mask)| in_script(frame) != mask).count();
        }
        Ok(Some(agreement))
    }
}

/// The folder of one clip's mask pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipMasks {
    /// The clip's number, from 1: `5` for `Test005_gt`.
    pub number: usize,
    /// The folder.
    pub folder: PathBuf,
}

/// What UCSD's script and its mask pictures say of the same frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Clips that the script describes.
    pub entries: usize,
    /// Frames that have a mask.
    pub frames: usize,
    /// Frames that one calls normal and the other abnormal.
    pub differing: usize,
}

/// The file and the video of a complaint.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a Path,
    video: &'a str,
}

fn of_length(
    labels: Vec<bool>,
    expected: usize,
    place: Place<'_>,
) -> Result<Vec<bool>, LabelsError> {
    if labels.len() == expected {
        return Ok(labels);
    }
    let (path, video) = (place.path.to_owned(), place.video.to_owned());
    Err(LabelsError::VideoLength { path, found: labels.len(), expected, video })
}

/// A clip's entry is the one of its number: a copy of the data may lack clips.
fn from_script(path: &Path, videos: &[Video], frames: &[usize]) -> Result<Labels, LabelsError> {
    let entries = read_script(path)?;
    let of_video = |(video, &count): (&Video, &usize)| {
        let number = number_in(&video.name).and_then(|number| number.checked_sub(1));
        let entry = number.and_then(|index| entries.get(index)).ok_or_else(|| {
            let (path, video) = (path.to_owned(), video.name.clone());
            let expected = "one statement a clip, the clip's number being its place";
            LabelsError::NoEntry { path, video, expected }
        })?;
        let mut labels = vec![false; count];
        for range in entry {
            let (first, last) = (*range.start(), *range.end());
            let Some(marked) = labels.get_mut(first - 1..last) else {
                let (path, video) = (path.to_owned(), video.name.clone());
                return Err(LabelsError::Range { path, video, first, last, begin: 1, end: count });
            };
            marked.fill(true);
        }
        Ok(labels)
    };
    Ok(Labels::new(videos.iter().zip(frames).map(of_video).collect::<Result<_, _>>()?))
}

/// A video without a line is normal.
fn from_table(path: &Path, videos: &[Video], frames: &[usize]) -> Result<Labels, LabelsError> {
    let mut labels: Vec<Vec<bool>> = frames.iter().map(|&count| vec![false; count]).collect();
    for TableRange { video, first, last } in read_table(path)? {
        let Some(index) = videos.iter().position(|found| found.name == video) else {
            let names: Vec<&str> = videos.iter().map(|video| video.name.as_str()).collect();
            let (path, accepted) = (path.to_owned(), names.join(", "));
            return Err(LabelsError::NoVideo { path, video, accepted });
        };
        let end = frames[index].saturating_sub(1);
        let Some(marked) = labels[index].get_mut(first..=last) else {
            let path = path.to_owned();
            return Err(LabelsError::Range { path, video, first, last, begin: 0, end });
        };
        marked.fill(true);
    }
    Ok(Labels::new(labels))
}
