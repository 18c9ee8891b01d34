//! What lies in one folder, told apart by names, in the order in which people number things.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::FilesError;
use super::natural::natural_order;

const PICTURES: [&str; 6] = ["jpg", "jpeg", "png", "bmp", "tif", "tiff"];
const VIDEOS: [&str; 13] =
    ["avi", "mp4", "mkv", "mov", "m4v", "mpg", "mpeg", "webm", "wmv", "flv", "ts", "mjpeg", "gif"];

/// One folder's entries, each list in natural order.
pub struct Folder {
    /// The folder.
    pub path: PathBuf,
    /// Pictures, by their endings.
    pub frames: Vec<PathBuf>,
    /// Video files, by their endings.
    pub videos: Vec<PathBuf>,
    /// Folders that are not in `masks`.
    pub folders: Vec<PathBuf>,
    /// Folders whose names end in `_gt`: ground truth beside videos.
    pub masks: Vec<PathBuf>,
    /// Hidden files, what macOS and Windows leave behind, and files of other kinds.
    pub others: Vec<PathBuf>,
}

impl Folder {
    /// Looks through one folder; `expected` says in a complaint what should be there.
    ///
    /// # Errors
    /// When it is not there, is a file, or cannot be read.
    pub fn read(path: &Path, expected: &'static str) -> Result<Self, FilesError> {
        let io = |source| FilesError::Io { path: path.to_owned(), source };
        let kind = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FilesError::NoFolder { path: path.to_owned(), expected });
            }
            Err(error) => return Err(io(error)),
        };
        if !kind.is_dir() {
            return Err(FilesError::NotAFolder { path: path.to_owned(), expected });
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

    /// The complaint of a folder that has nothing of what was looked for.
    pub fn empty(&self, expected: &'static str) -> FilesError {
        let found = format!("{} folders, {} other files", self.folders.len(), self.others.len());
        FilesError::Empty { path: self.path.clone(), found, expected }
    }
}

fn has_extension(path: &Path, accepted: &[&str]) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    extension.is_some_and(|extension| accepted.contains(&extension.as_str()))
}

/// The last part of a path.
pub fn name_of(path: &Path) -> String {
    let named = path.file_name().map(|name| name.to_string_lossy().into_owned());
    named.unwrap_or_else(|| path.to_string_lossy().into_owned())
}
