use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::natural::natural_order;

const EXTENSIONS: [&str; 6] = ["jpg", "jpeg", "png", "bmp", "tif", "tiff"];

/// One video as a folder of frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Video {
    /// The folder's name.
    pub name: String,
    /// The camera's scene, where the name tells it as ShanghaiTech's do (`SS_VVVV`).
    pub scene: Option<String>,
    /// The frames in temporal order, which is the natural order of their names.
    pub frames: Vec<PathBuf>,
}

/// A folder or a file that is no data set, video or frame.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The folder is not there.
    #[error("folder {path:?} does not exist; expected {expected}")]
    NoFolder {
        /// The folder that was looked for.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// A file where a folder is needed.
    #[error("{path:?} is a file; expected {expected}")]
    NotAFolder {
        /// The path that was given.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// A folder without a usable entry.
    #[error("folder {path:?} has {found} and no frames; expected {expected}")]
    Empty {
        /// The folder.
        path: PathBuf,
        /// What is in it instead.
        found: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A video too short for one clip.
    #[error(
        "video {path:?} has {found} frames; at least {needed} are needed (t past frames and a target)"
    )]
    TooShort {
        /// The video's folder.
        path: PathBuf,
        /// Its frames.
        found: usize,
        /// `t + 1`.
        needed: usize,
    },
    /// A frame whose size differs from the first of its video.
    #[error(
        "frame {path:?} is {height}x{width} pixels; {first_height}x{first_width} is expected, the size of the video's first frame"
    )]
    MixedSizes {
        /// The first odd frame.
        path: PathBuf,
        /// Its height in pixels.
        height: usize,
        /// Its width in pixels.
        width: usize,
        /// Height of the video's first frame.
        first_height: usize,
        /// Width of the video's first frame.
        first_width: usize,
    },
    /// A file that holds no picture.
    #[error("frame {path:?}: {source}")]
    Frame {
        /// The file.
        path: PathBuf,
        /// What is wrong with its bytes.
        source: crate::DecodeError,
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

/// The normal videos of a data set: `root/training/frames/*`.
///
/// # Errors
/// When the folder is missing, or it or one of its videos holds no frames.
pub fn training_videos(root: &Path) -> Result<Vec<Video>, DatasetError> {
    half(root, "training", "a data set folder holding training/frames/<video>/<frame>.jpg")
}

/// The videos of a data set that are to be judged: `root/testing/frames/*`.
///
/// # Errors
/// As [`training_videos`].
pub fn testing_videos(root: &Path) -> Result<Vec<Video>, DatasetError> {
    half(root, "testing", "a data set folder holding testing/frames/<video>/<frame>.jpg")
}

fn half(root: &Path, half: &str, expected: &'static str) -> Result<Vec<Video>, DatasetError> {
    Folder::read(root, expected)?;
    let frames = root.join(half).join("frames");
    let videos = Folder::read(&frames, expected)?.videos(expected)?;
    if videos.is_empty() {
        return Err(Folder::read(&frames, expected)?.empty(expected));
    }
    Ok(videos)
}

/// The videos under `path`: a folder of frames is one, a folder of such folders is many.
///
/// Folders whose names end in `_gt` are ground-truth masks beside the videos and are left out.
///
/// # Errors
/// When there is no such folder, or no frames in it.
pub fn videos_under(path: &Path) -> Result<Vec<Video>, DatasetError> {
    let expected = "a folder of frames (.jpg, .png, .bmp, .tif) or a folder of such folders";
    let folder = Folder::read(path, expected)?;
    if !folder.frames.is_empty() {
        return Ok(vec![folder.into_video()]);
    }
    let videos = folder.videos(expected)?;
    if videos.is_empty() { Err(folder.empty(expected)) } else { Ok(videos) }
}

/// What one folder holds, junk left out, in natural order.
struct Folder {
    path: PathBuf,
    frames: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    others: usize,
}

impl Folder {
    fn read(path: &Path, expected: &'static str) -> Result<Self, DatasetError> {
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
        let (frames, folders, others) = (Vec::new(), Vec::new(), 0);
        let mut folder = Self { path: path.to_owned(), frames, folders, others };
        for entry in fs::read_dir(path).map_err(io)? {
            folder.sort_in(entry.map_err(io)?.path());
        }
        folder.frames.sort_by(|a, b| natural_order(&name_of(a), &name_of(b)));
        folder.folders.sort_by(|a, b| natural_order(&name_of(a), &name_of(b)));
        Ok(folder)
    }

    fn sort_in(&mut self, path: PathBuf) {
        let name = name_of(&path);
        // `._*` are what macOS leaves beside files on foreign disks, with the files' extensions.
        let hidden = name.starts_with('.') || name == "__MACOSX";
        let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        let image = extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str()));
        if hidden {
            self.others += 1;
        } else if path.is_dir() {
            if !name.ends_with("_gt") {
                self.folders.push(path);
            }
        } else if image {
            self.frames.push(path);
        } else {
            self.others += 1;
        }
    }

    fn videos(&self, expected: &'static str) -> Result<Vec<Video>, DatasetError> {
        let video = |path: &PathBuf| {
            let folder = Self::read(path, expected)?;
            if folder.frames.is_empty() {
                return Err(folder.empty("frames named *.jpg, *.png, *.bmp or *.tif"));
            }
            Ok(folder.into_video())
        };
        self.folders.iter().map(video).collect()
    }

    fn empty(&self, expected: &'static str) -> DatasetError {
        let found = format!("{} folders, {} other files", self.folders.len(), self.others);
        DatasetError::Empty { path: self.path.clone(), found, expected }
    }

    fn into_video(self) -> Video {
        let name = name_of(&self.path);
        Video { scene: scene_of(&name), name, frames: self.frames }
    }
}

fn name_of(path: &Path) -> String {
    let named = path.file_name().map(|name| name.to_string_lossy().into_owned());
    named.unwrap_or_else(|| path.to_string_lossy().into_owned())
}

/// The scene of ShanghaiTech's names: two digits, an underscore, three or four digits.
fn scene_of(name: &str) -> Option<String> {
    let (scene, number) = name.split_once('_')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let shaped = scene.len() == 2 && (3..=4).contains(&number.len());
    (shaped && digits(scene) && digits(number)).then(|| scene.to_owned())
}
