//! The label file beside a data set.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::LabelsError;

/// What a label file beside the data is called.
const EXPECTED: &str =
    "frame_labels.npy, or one file named *frame_labels*.npy, or labels.csv (video,first,last)";

/// The label file beside a data set: `frame_labels.npy`, or the only `*frame_labels*.npy`, or
/// `labels.csv`.
///
/// # Errors
/// When there is none, or there are several.
pub fn find_labels(root: &Path) -> Result<PathBuf, LabelsError> {
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
