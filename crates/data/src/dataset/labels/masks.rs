//! Ground truth as one mask picture a frame: a frame with any white pixel is abnormal.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::LabelsError;
use crate::dataset::folder::{number_of, pictures_in};
use crate::{DecodeLimits, decode};

/// One label a mask of a folder, in the order of the frames' numbers: some clips call theirs
/// `012.bmp`, others `frame012.bmp`, and neither sorts by name among the other.
pub(super) fn read_masks(folder: &Path) -> Result<Vec<bool>, LabelsError> {
    let io = |source| LabelsError::Io { path: folder.to_owned(), source };
    let mut masks = pictures_in(folder).map_err(io)?;
    masks.sort_by_key(|path| number_of(path));
    let found: Vec<Result<bool, LabelsError>> = masks.par_iter().map(marks_anything).collect();
    found.into_iter().collect()
}

fn marks_anything(path: &PathBuf) -> Result<bool, LabelsError> {
    let bytes = fs::read(path).map_err(|source| LabelsError::Io { path: path.clone(), source })?;
    let frame = decode(&bytes, &DecodeLimits::files())
        .map_err(|source| LabelsError::Mask { path: path.clone(), source })?;
    Ok(frame.pixels().iter().any(|&value| value > 0))
}
