//! Where abnormal pixels are told, and reading them.

use std::path::{Path, PathBuf};

use protoguard_core::Mask;
use protoguard_frames::files::{FilesError, Folder, Video};
use rayon::prelude::*;

use super::error::LabelsError;
use super::masks::mask_pictures;
use super::truth::MASKS;
use crate::matlab;
use crate::numbers::place_of;

/// Where the abnormal pixels of test videos are told, not yet read. Published sets tell them of
/// some videos only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PixelTruth {
    form: Form,
    /// One a video, in their order, where there is one.
    places: Vec<Option<PathBuf>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A folder of mask pictures a video.
    Pictures,
    /// Avenue's MATLAB files, one a video.
    Matlab,
}

impl PixelTruth {
    /// Folders of one mask picture a frame in `folder`, found by the videos' names, or by their
    /// numbers where names differ: `01/000.png` for video `01` or `Test001`.
    ///
    /// # Errors
    /// When the folder cannot be read, or has a folder for none of the videos.
    pub fn in_folder(folder: &Path, videos: &[Video]) -> Result<Self, LabelsError> {
        let expected = "a folder of masks for each test video, one picture a frame (01/000.png)";
        let found = match Folder::read(folder, expected) {
            Ok(found) => found,
            Err(FilesError::Io { path, source }) => return Err(LabelsError::Io { path, source }),
            Err(_) => return Err(LabelsError::NotFound { root: folder.to_owned(), expected }),
        };
        let folders = [found.folders, found.masks].concat();
        let places = videos.iter().map(|video| place_of(video, &folders)).collect();
        let truth = Self::pictures(places);
        if truth.videos() == 0 {
            return Err(LabelsError::NotFound { root: folder.to_owned(), expected });
        }
        Ok(truth)
    }

    pub(crate) fn pictures(places: Vec<Option<PathBuf>>) -> Self {
        Self { form: Form::Pictures, places }
    }

    pub(crate) fn matlab(places: Vec<Option<PathBuf>>) -> Self {
        Self { form: Form::Matlab, places }
    }

    /// The folder or the file of every video that has masks; none for the others.
    pub fn places(&self) -> &[Option<PathBuf>] {
        &self.places
    }

    /// Videos that have masks.
    pub fn videos(&self) -> usize {
        self.places.iter().flatten().count()
    }

    /// Reads the masks of `videos`, which have `frames` frames each: one a frame, or none for a
    /// video without. They are resized to a square of `side` pixels where one is given, as frames
    /// are; whole data sets fit in memory so.
    ///
    /// # Errors
    /// When a mask cannot be read, differs in size from the first of its video, or there is not
    /// one for every frame.
    ///
    /// # Panics
    /// When `videos`, `frames` and the places differ in length, or the side is zero.
    pub fn masks(
        &self,
        videos: &[Video],
        frames: &[usize],
        side: Option<usize>,
    ) -> Result<Vec<Option<Vec<Mask>>>, LabelsError> {
        assert_eq!(videos.len(), frames.len(), "one number of frames a video");
        assert_eq!(videos.len(), self.places.len(), "one place a video");
        let read = |(index, place): (usize, &Option<PathBuf>)| {
            let Some(path) = place else { return Ok(None) };
            let masks = self.read(path, side)?;
            if masks.len() == frames[index] {
                return Ok(Some(masks));
            }
            let (path, video) = (path.clone(), videos[index].name.clone());
            Err(LabelsError::MaskCount { path, found: masks.len(), expected: frames[index], video })
        };
        let found: Vec<_> = self.places.par_iter().enumerate().map(read).collect();
        found.into_iter().collect()
    }

    fn read(&self, path: &Path, side: Option<usize>) -> Result<Vec<Mask>, LabelsError> {
        match self.form {
            Form::Pictures => mask_pictures(path, side),
            Form::Matlab => {
                let mut cells = matlab::MaskCells { masks: Vec::new(), side };
                matlab::read_cells(path, MASKS, &mut cells)
                    .map_err(|source| LabelsError::Matlab { path: path.to_owned(), source })?;
                Ok(cells.masks)
            }
        }
    }
}
