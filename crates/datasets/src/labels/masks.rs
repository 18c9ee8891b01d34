//! Ground truth as one mask picture a frame: a frame with any white pixel is abnormal.

use std::fs;
use std::path::{Path, PathBuf};

use protoguard_core::{CHANNELS, Frame, Mask};
use protoguard_frames::decode;
use rayon::prelude::*;

use super::error::LabelsError;
use crate::numbers::{number_of, pictures_in};
use crate::tiff::dataset_limits;

/// One label a mask of a folder.
pub(super) fn read_masks(folder: &Path) -> Result<Vec<bool>, LabelsError> {
    let any = |path: &PathBuf| Ok(read(path)?.pixels().iter().any(|&value| value > 0));
    let found: Vec<Result<bool, LabelsError>> = pictures(folder)?.par_iter().map(any).collect();
    found.into_iter().collect()
}

/// The masks of a folder, resized where a side is given. What is not black is marked.
pub(super) fn mask_pictures(folder: &Path, side: Option<usize>) -> Result<Vec<Mask>, LabelsError> {
    let paths = pictures(folder)?;
    let Some(first) = paths.first() else { return Ok(Vec::new()) };
    let first = read(first)?;
    let (first_height, first_width) = (first.height(), first.width());
    let mask = |path: &PathBuf| {
        let frame = read(path)?;
        let (height, width) = (frame.height(), frame.width());
        if (height, width) != (first_height, first_width) {
            let path = path.clone();
            return Err(LabelsError::MaskSize { path, height, width, first_height, first_width });
        }
        let marked = |y: usize, x: usize| {
            let at = (y * width + x) * CHANNELS;
            frame.pixels()[at..at + CHANNELS].iter().any(|&value| value > 0)
        };
        let mask = Mask::from_fn(height, width, marked);
        Ok(side.map_or_else(|| mask.clone(), |side| mask.resized(side, side)))
    };
    let found: Vec<Result<Mask, LabelsError>> = paths.par_iter().map(mask).collect();
    found.into_iter().collect()
}

/// The pictures of a folder in the order of the frames' numbers: some clips call theirs
/// `012.bmp`, others `frame012.bmp`, and neither sorts by name among the other.
fn pictures(folder: &Path) -> Result<Vec<PathBuf>, LabelsError> {
    let io = |source| LabelsError::Io { path: folder.to_owned(), source };
    let mut masks = pictures_in(folder).map_err(io)?;
    masks.sort_by_key(|path| number_of(path));
    Ok(masks)
}

fn read(path: &Path) -> Result<Frame, LabelsError> {
    let bytes = fs::read(path).map_err(|source| LabelsError::Io { path: path.into(), source })?;
    decode(&bytes, &dataset_limits())
        .map_err(|source| LabelsError::Mask { path: path.into(), source })
}
