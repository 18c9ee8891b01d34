//! The folder of decoded frames.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use protoguard_core::Frame;
use protoguard_frames::files::Video;

use super::error::CacheError;
use super::file::{CachedFrames, FrameWriter, UNFINISHED};
use super::identity::{EXTENSION, Identity};
use crate::DatasetError;

/// A folder of decoded and resized frames, one file a video, so that a second run need not decode.
///
/// A file is named by a hash of its source's path, size and times, of which frames are read and of the
/// resizing rule: it is never changed, only made or removed. It appears whole or not at all; one that is damaged or cut
/// short is made anew. When all files exceed the limit, the least recently used are removed,
/// never one of the present run.
#[derive(Clone, Debug)]
pub struct FrameCache {
    folder: PathBuf,
    limit_bytes: u64,
    /// Bytes of the files that this run uses.
    in_use: Arc<AtomicU64>,
}

/// Files of a run that was killed are removed when they are this old: no video takes as long.
const UNFINISHED_FOR: Duration = Duration::from_secs(24 * 3600);

impl FrameCache {
    /// The limit unless another is given: ShanghaiTech at full size fits.
    pub const LIMIT_BYTES: u64 = 64 << 30;

    /// A cache in `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// When the folder does not take a file.
    pub fn open(folder: &Path, limit_bytes: u64) -> Result<Self, CacheError> {
        let failed = |source| CacheError::Folder { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        Ok(Self { folder: folder.to_owned(), limit_bytes, in_use: Arc::default() })
    }

    /// `$XDG_CACHE_HOME/protoguard/frames`, or `~/.cache/protoguard/frames`.
    ///
    /// # Errors
    /// When neither variable is set.
    pub fn user_folder() -> Result<PathBuf, CacheError> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = || variable("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let caches = variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
        Ok(caches.ok_or(CacheError::NoHome)?.join("protoguard").join("frames"))
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The frames of `video` at `side`, from the file where it is whole and from `decode`
    /// otherwise, which hands every frame to its argument.
    pub(super) fn frames(
        &self,
        video: &Video,
        side: usize,
        decode: impl FnOnce(
            &mut dyn FnMut(Frame) -> Result<(), DatasetError>,
        ) -> Result<(), DatasetError>,
    ) -> Result<Cached, DatasetError> {
        let identity = Identity::of(video, side)?;
        let path = self.folder.join(identity.file_name());
        if let Some(frames) = CachedFrames::open(&path, identity, side) {
            self.in_use.fetch_add(frames.bytes(), Ordering::Relaxed);
            return Ok(Cached { frames, made: false });
        }
        let mut writer = FrameWriter::create(&path, identity, side)?;
        decode(&mut |frame| {
            let bytes = frame.pixels().len() as u64;
            let before = self.in_use.fetch_add(bytes, Ordering::Relaxed);
            if before + bytes > self.limit_bytes {
                return Err(CacheError::Limit { limit_bytes: self.limit_bytes }.into());
            }
            Ok(writer.push(&frame)?)
        })?;
        Ok(Cached { frames: writer.finish()?, made: true })
    }

    /// Removes files until the limit holds, the least recently used first and none of `keep`, and
    /// what killed runs left behind. A file that cannot be removed is left.
    pub(super) fn trim(&self, keep: &[&Path]) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut files: Vec<Entry> = entries.flatten().filter_map(Entry::of).collect();
        files.sort_by_key(|file| file.used);
        let finished = files.iter().filter(|file| !file.unfinished);
        let mut total: u64 = finished.map(|file| file.bytes).sum();
        for file in files {
            let forgotten = file.unfinished
                && file.used.elapsed().is_ok_and(|elapsed| elapsed > UNFINISHED_FOR);
            let surplus = !file.unfinished
                && total > self.limit_bytes
                && !keep.contains(&file.path.as_path());
            let removed = (forgotten || surplus) && fs::remove_file(&file.path).is_ok();
            if removed && surplus {
                total -= file.bytes;
            }
        }
    }
}

/// Frames on disk.
pub(super) struct Cached {
    pub(super) frames: CachedFrames,
    /// Whether they had to be decoded.
    pub(super) made: bool,
}

/// A file in the cache's folder.
struct Entry {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
    unfinished: bool,
}

impl Entry {
    fn of(entry: fs::DirEntry) -> Option<Self> {
        let path = entry.path();
        let unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
        let ours = unfinished || path.extension().is_some_and(|found| found == EXTENSION);
        let metadata = entry.metadata().ok().filter(|metadata| ours && metadata.is_file())?;
        Some(Self { path, bytes: metadata.len(), used: metadata.modified().ok()?, unfinished })
    }
}

/// Which frame cache a command uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CacheChoice {
    /// The user's, see [`FrameCache::user_folder`], where its folder takes files.
    #[default]
    User,
    /// One in this folder.
    Folder(PathBuf),
    /// None: frames are kept in memory.
    Off,
}

impl FromStr for CacheChoice {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "off" => Self::Off,
            "" | "user" => Self::User,
            folder => Self::Folder(folder.into()),
        })
    }
}

impl CacheChoice {
    /// Opens the chosen cache.
    ///
    /// # Errors
    /// When the folder does not take a file.
    pub fn open(&self, limit_bytes: u64) -> Result<Option<FrameCache>, CacheError> {
        match self {
            Self::User => FrameCache::open(&FrameCache::user_folder()?, limit_bytes).map(Some),
            Self::Folder(folder) => FrameCache::open(folder, limit_bytes).map(Some),
            Self::Off => Ok(None),
        }
    }
}
