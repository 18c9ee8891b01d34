//! What lies in one folder, told apart by names, in the order in which people number things.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::DatasetError;
use super::natural::natural_order;

const PICTURES: [&str; 6] = ["jpg", "jpeg", "png", "bmp", "tif", "tiff"];
const VIDEOS: [&str; 13] =
    ["avi", "mp4", "mkv", "mov", "m4v", "mpg", "mpeg", "webm", "wmv", "flv", "ts", "mjpeg", "gif"];

/// One folder's entries, each list in natural order.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) frames: Vec<PathBuf>,
    pub(super) videos: Vec<PathBuf>,
    pub(super) folders: Vec<PathBuf>,
    /// Folders whose names end in `_gt`: ground truth beside videos.
    pub(super) masks: Vec<PathBuf>,
    /// Hidden files, what macOS and Windows leave behind, and files of other kinds.
    pub(super) others: Vec<PathBuf>,
}

impl Folder {
    pub(super) fn read(path: &Path, expected: &'static str) -> Result<Self, DatasetError> {
        let io = |source| DatasetError::Io { path: path.to_owned(), source };
        let kind = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DatasetError::NoFolder { path: path.to_owned(), expected });
            }
            Err(error) => return Err(io(error)),
        };
        if !kind.is_dir() {
            return Err(DatasetError::NotAFolder { path: path.to_owned(), expected });
        }
        let mut folder = Self {
            path: path.to_owned(),
            frames: Vec::new(),
            videos: Vec::new(),
            folders: Vec::new(),
            masks: Vec::new(),
            others: Vec::new(),
        };
        for entry in fs::read_dir(path).map_err(io)? {
            folder.sort_in(entry.map_err(io)?.path());
        }
        let Self { frames, videos, folders, masks, others, .. } = &mut folder;
        for list in [frames, videos, folders, masks, others] {
            list.sort_by(|a, b| natural_order(&name_of(a), &name_of(b)));
        }
        Ok(folder)
    }

    fn sort_in(&mut self, path: PathBuf) {
        let name = name_of(&path);
        // `._*` are what macOS leaves beside files on foreign disks, with the files' extensions.
        let list = if name.starts_with('.') || name == "__MACOSX" {
            &mut self.others
        } else if path.is_dir() {
            if name.ends_with("_gt") { &mut self.masks } else { &mut self.folders }
        } else if has_extension(&path, &PICTURES) {
            &mut self.frames
        } else if has_extension(&path, &VIDEOS) {
            &mut self.videos
        } else {
            &mut self.others
        };
        list.push(path);
    }

    pub(super) fn empty(&self, expected: &'static str) -> DatasetError {
        let found = format!("{} folders, {} other files", self.folders.len(), self.others.len());
        DatasetError::Empty { path: self.path.clone(), found, expected }
    }
}

/// The pictures of a folder, in natural order.
pub(super) fn pictures_in(path: &Path) -> io::Result<Vec<PathBuf>> {
    match Folder::read(path, "a folder of pictures") {
        Ok(folder) => Ok(folder.frames),
        Err(DatasetError::Io { source, .. }) => Err(source),
        Err(other) => Err(io::Error::new(io::ErrorKind::NotFound, other.to_string())),
    }
}

fn has_extension(path: &Path, accepted: &[&str]) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    extension.is_some_and(|extension| accepted.contains(&extension.as_str()))
}

/// The last part of a path.
pub(super) fn name_of(path: &Path) -> String {
    let named = path.file_name().map(|name| name.to_string_lossy().into_owned());
    named.unwrap_or_else(|| path.to_string_lossy().into_owned())
}

/// The last number in a file's name without its extension: 12 for `frame012.bmp`.
pub(super) fn number_of(path: &Path) -> Option<usize> {
    number_in(&path.file_stem()?.to_string_lossy())
}

/// The last number in a name: 5 for `Test005`, 1 for `1_label`.
pub(super) fn number_in(name: &str) -> Option<usize> {
    let end = name.rfind(|c: char| c.is_ascii_digit())? + 1;
    let digits = name[..end].bytes().rev().take_while(u8::is_ascii_digit).count();
    name[end - digits..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_counts() {
        let cases = [
            ("Test005", Some(5)),
            ("1_label", Some(1)),
            ("frame012", Some(12)),
            ("03_0031", Some(31)),
            ("ü7ü", Some(7)),
            ("none", None),
        ];
        for (name, number) in cases {
            assert_eq!(number_in(name), number, "{name}");
        }
        assert_eq!(number_of(Path::new("clip/frame012.bmp4")), Some(12));
    }
}
