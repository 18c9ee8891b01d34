//! All frames of a video have one size.

use std::path::Path;

use super::error::FilesError;
use crate::Size;

/// Compares every frame of a video with its first.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneSize {
    first: Option<Size>,
}

impl OneSize {
    /// Takes the size of the frame in the file `path`.
    ///
    /// # Errors
    /// When the first frame had another.
    pub fn check(&mut self, path: &Path, size: Size) -> Result<(), FilesError> {
        let first = *self.first.get_or_insert(size);
        if size == first {
            return Ok(());
        }
        Err(FilesError::MixedSizes {
            path: path.to_owned(),
            height: size.height,
            width: size.width,
            first_height: first.height,
            first_width: first.width,
        })
    }
}
