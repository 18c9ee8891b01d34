//! Where a command's videos come from: a data set of any layout, and the frame cache.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use protoguard_checkpoint::TrainingRecord;
use protoguard_core::{ClipShape, FrameInterval};
use protoguard_datasets::{
    CacheChoice, CacheError, Dataset, DatasetError, DecodedVideo, FrameCache, Half, Layout,
    LoadOptions, load,
};
use protoguard_frames::DecodeLimits;
use protoguard_frames::files::Video;
use protoguard_frames::pace::{Wanted, apart, parse_rate};

use crate::progress;

/// Flags of every command that reads videos.
#[derive(Clone, Debug, Default, Args)]
pub struct SourceArgs {
    /// How the data lies on disk: ucsd, avenue, shanghaitech, converted or own [default: found by
    /// looking]
    #[arg(long)]
    pub layout: Option<Layout>,
    /// Frames a second of folders of frames, and of video files without time stamps; others tell it
    /// themselves [default: that of a known data set]
    #[arg(long, value_name = "FPS", value_parser = parse_rate)]
    pub fps: Option<FrameInterval>,
    /// Folder for decoded frames, or off [default: protoguard/frames in the user's cache folder]
    #[arg(long, value_name = "DIR|off", env = "PROTOGUARD_CACHE")]
    pub cache: Option<CacheChoice>,
    /// GiB that the frame cache may hold; the least recently used files go first
    #[arg(long, value_name = "GIB", env = "PROTOGUARD_CACHE_GIB",
        default_value_t = FrameCache::LIMIT_BYTES >> 30, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub cache_gib: u64,
}

impl SourceArgs {
    /// The frame cache that was asked for. The user's own, where none was named, is done without
    /// when its folder takes no files.
    ///
    /// # Errors
    /// When a folder that was named takes no files.
    pub fn open_cache(&self) -> Result<Option<FrameCache>, CacheError> {
        let opened = self.cache.clone().unwrap_or_default().open(self.cache_gib << 30);
        match opened {
            Err(error) if self.cache.is_none() => {
                tracing::warn!("{error}; frames are kept in memory");
                Ok(None)
            }
            opened => opened,
        }
    }
}

/// A data set and where its decoded frames are kept.
#[derive(Clone, Debug)]
pub struct Source {
    /// The data set.
    pub dataset: Dataset,
    cache: Option<FrameCache>,
    untimed: Option<FrameInterval>,
}

impl Source {
    /// The data set at `root` as the flags say.
    ///
    /// # Errors
    /// When the folder holds no data set of the layout, or the cache cannot be used.
    pub fn open(root: &Path, args: &SourceArgs) -> Result<Self, DatasetError> {
        let dataset = Dataset::open(root, args.layout)?;
        let cache = args.open_cache()?;
        let (layout, folder) = (dataset.layout(), cache.as_ref().map(FrameCache::folder));
        let cache_folder = folder.map_or("off".to_owned(), |folder| folder.display().to_string());
        tracing::info!(%layout, cache = cache_folder, "reading {}", dataset.root().display());
        Ok(Self { dataset, cache, untimed: args.fps })
    }

    /// The data set at `root`, its layout found by looking, its frames kept in memory.
    ///
    /// # Errors
    /// When the folder holds no data set of a known layout.
    pub fn in_memory(root: &Path) -> Result<Self, DatasetError> {
        Ok(Self { dataset: Dataset::open(root, None)?, cache: None, untimed: None })
    }

    /// The videos of a half, not yet decoded, at the interval that is wanted. Those whose interval
    /// nothing says keep all their frames, with a warning.
    ///
    /// # Errors
    /// When the half is missing or empty, or a video's interval cannot be brought to the wanted one.
    pub fn videos(&self, half: Half, wanted: Wanted) -> Result<Vec<Video>, DatasetError> {
        let clock = self.dataset.clock(self.untimed, wanted);
        let videos = self.dataset.videos_at(half, clock)?;
        let mut unknown = videos.iter().filter(|video| video.pace.interval.is_none());
        if let Some(first) = unknown.next().filter(|_| wanted != Wanted::AsTheyAre) {
            let (first, others) = (&first.name, unknown.count());
            let taken = match wanted {
                Wanted::At(interval) => format!("taken as {}", apart(interval)),
                _ => "not recorded".to_owned(),
            };
            tracing::warn!(
                first,
                others,
                "nothing says how far apart frames are; that is {taken}, and --fps says it"
            );
        }
        Ok(videos)
    }

    /// Decodes what is read of videos, or finds them in the cache, with a progress bar.
    ///
    /// # Errors
    /// When a frame cannot be decoded, a video is too short for a clip, or the cache cannot be
    /// written.
    pub fn load(
        &self,
        videos: &[Video],
        shape: ClipShape,
    ) -> Result<Vec<DecodedVideo>, DatasetError> {
        let bar = bar_over(videos);
        let options =
            LoadOptions { shape, limits: DecodeLimits::files(), cache: self.cache.as_ref() };
        let decoded = load(videos, &options, |done| bar.set_position(done as u64));
        bar.finish_and_clear();
        decoded
    }

    /// The data set's name, as a report writes it.
    pub fn name(&self) -> String {
        self.dataset.name()
    }
}

/// What a checkpoint's model takes of videos: frames at the interval that it learnt, or all of them
/// where it does not say.
pub fn wanted_by(training: &TrainingRecord) -> Wanted {
    training.frame_interval.map_or(Wanted::AsTheyAre, Wanted::At)
}

/// How many frames video files have is not known before they are decoded: the bar then counts.
fn bar_over(videos: &[Video]) -> ProgressBar {
    let frames: Option<usize> = videos.iter().map(Video::known_frames).sum();
    match frames {
        Some(frames) => progress::bar(frames as u64, "decoding"),
        None => progress::count("decoding", "frames"),
    }
}

/// The last part of a path, as a report names it.
pub fn name_of(path: &Path) -> String {
    let full: PathBuf = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    full.file_name()
        .map_or_else(|| full.display().to_string(), |name| name.to_string_lossy().into_owned())
}
