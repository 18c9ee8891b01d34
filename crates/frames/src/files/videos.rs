//! Videos, found by looking at a folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::error::FilesError;
use super::folder::{Folder, name_of};
use super::natural::natural_order;
use crate::pace::{Pace, Thinning};

/// One video, not yet opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Video {
    /// The name of its folder, or of its file without the extension.
    pub name: String,
    /// The camera's scene, where the name tells it as ShanghaiTech's do (`SS_VVVV`).
    pub scene: Option<String>,
    /// Where its frames are.
    pub source: VideoSource,
    /// Which of them are read, and how far apart those are: all, and unknown, unless a clock says
    /// more (see [`Video::paced`]).
    pub pace: Pace,
}

/// Where a video's frames are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VideoSource {
    /// A picture a frame in temporal order, which is the natural order of their names.
    Frames(Vec<PathBuf>),
    /// A file that `ffmpeg` decodes.
    File(PathBuf),
}

impl Video {
    /// How many frames are read of it, where that is known without decoding.
    pub fn known_frames(&self) -> Option<usize> {
        match &self.source {
            VideoSource::Frames(frames) => Some(self.pace.thinning.of(frames).len()),
            VideoSource::File(_) => None,
        }
    }

    /// How many frames it has, of which `read` were read.
    pub fn all_frames(&self, read: usize) -> usize {
        match (&self.source, &self.pace.thinning) {
            (VideoSource::Frames(frames), _) => frames.len(),
            // What was decoded is surer than what the container says.
            (VideoSource::File(_), Thinning::All) => read,
            (VideoSource::File(_), _) => self.pace.file_frames.unwrap_or(read),
        }
    }

    /// Its file, or the folder of its frames.
    pub fn path(&self) -> PathBuf {
        match &self.source {
            VideoSource::Frames(frames) => {
                let folder = frames.first().and_then(|frame| frame.parent());
                folder.map_or_else(|| PathBuf::from(&self.name), Path::to_owned)
            }
            VideoSource::File(path) => path.clone(),
        }
    }

    fn new(name: String, source: VideoSource) -> Self {
        Self { scene: scene_of(&name), name, source, pace: Pace::default() }
    }

    fn of_frames(folder: Folder) -> Self {
        let name = name_of(&folder.path);
        Self::new(name, VideoSource::Frames(folder.frames))
    }

    fn of_file(path: PathBuf) -> Self {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = stem.unwrap_or_else(|| name_of(&path));
        Self::new(name, VideoSource::File(path))
    }
}

/// The videos under `path`: a folder of frames is one; a folder of such folders, or of video
/// files, is many.
///
/// Folders whose names end in `_gt` are ground-truth masks beside the videos and are left out.
/// `expected` says in a complaint what should be there: callers differ in the pictures they read.
///
/// # Errors
/// When there is no such folder, or no frames in it.
pub fn videos_under(path: &Path, expected: &'static str) -> Result<Vec<Video>, FilesError> {
    let folder = Folder::read(path, expected)?;
    if folder.frames.is_empty() {
        return videos_of(folder, expected);
    }
    Ok(vec![Video::of_frames(folder)])
}

/// The videos in `path`: its folders of frames and its video files, in natural order.
///
/// # Errors
/// When there is no such folder, no video in it, or two of one name.
pub fn videos_in(path: &Path, expected: &'static str) -> Result<Vec<Video>, FilesError> {
    videos_of(Folder::read(path, expected)?, expected)
}

fn videos_of(folder: Folder, expected: &'static str) -> Result<Vec<Video>, FilesError> {
    if folder.folders.is_empty() && folder.videos.is_empty() {
        return Err(folder.empty(expected));
    }
    let mut videos: Vec<Video> = folder.videos.into_iter().map(Video::of_file).collect();
    for path in &folder.folders {
        let frames = Folder::read(path, expected)?;
        if frames.frames.is_empty() {
            return Err(frames.empty("pictures, one a frame"));
        }
        videos.push(Video::of_frames(frames));
    }
    videos.sort_by(|a, b| natural_order(&a.name, &b.name));
    let mut seen = BTreeSet::new();
    match videos.iter().find(|video| !seen.insert(video.name.as_str())) {
        None => Ok(videos),
        Some(video) => Err(FilesError::Twice { folder: folder.path, name: video.name.clone() }),
    }
}

/// The scene of ShanghaiTech's names: two digits, an underscore, three or four digits.
fn scene_of(name: &str) -> Option<String> {
    let (scene, number) = name.split_once('_')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let shaped = scene.len() == 2 && (3..=4).contains(&number.len());
    (shaped && digits(scene) && digits(number)).then(|| scene.to_owned())
}
