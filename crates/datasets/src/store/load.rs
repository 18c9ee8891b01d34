//! Videos to decoded frames, in the cache or in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use protoguard_core::{ClipShape, Frame};
use protoguard_frames::files::{FilesError, OneSize, Video, VideoSource};
use protoguard_frames::pace::Thinning;
use protoguard_frames::video::{VideoOptions, VideoReader};
use protoguard_frames::{DecodeLimits, Size, decode, resize};
use rayon::prelude::*;

use super::{DecodedVideo, FrameCache};
use crate::DatasetError;
use crate::tiff::{CODECS, dataset_limits};

/// How videos are made ready.
#[derive(Clone, Debug)]
pub struct LoadOptions<'a> {
    /// The clips' geometry: frames are resized to its side.
    pub shape: ClipShape,
    /// What one frame may cost; it may be in any format that data sets come in.
    pub limits: DecodeLimits,
    /// Where frames are kept; in memory without one.
    pub cache: Option<&'a FrameCache>,
}

impl LoadOptions<'_> {
    /// Frames in memory, within the limits for files of one's own.
    pub fn in_memory(shape: ClipShape) -> Self {
        Self { shape, limits: dataset_limits(), cache: None }
    }
}

/// Frames of a folder that are decoded together: what is in memory of a video at one time.
const TOGETHER: usize = 32;

/// Decodes and resizes the frames of `videos` that their paces take, in parallel on rayon's threads, or finds them in
/// the cache. Of a video on its way to the cache at most `TOGETHER` frames are in memory, of a
/// video file one at its full size.
///
/// `progress` is called with the number of frames done so far, from any thread.
///
/// # Errors
/// The first in the order of the frames: a video of fewer than `t + 1` frames, a file that cannot
/// be read or decoded, a frame whose size differs from the first of its video, or a cache that
/// cannot be written.
pub fn load(
    videos: &[Video],
    options: &LoadOptions<'_>,
    progress: impl Fn(usize) + Sync,
) -> Result<Vec<DecodedVideo>, DatasetError> {
    for video in videos {
        check_length(video, video.known_frames(), options.shape)?;
    }
    let loading = Loading {
        options: LoadOptions {
            limits: DecodeLimits { codecs: CODECS, ..options.limits },
            ..*options
        },
        done: AtomicUsize::new(0),
        progress: &progress,
    };
    let mut loaded = Vec::with_capacity(videos.len());
    // A few at a time, so that the first error in order ends the work.
    for some in videos.chunks(rayon::current_num_threads().max(1)) {
        let found: Vec<_> = some.par_iter().map(|video| loading.video(video)).collect();
        for video in found {
            loaded.push(video?);
        }
    }
    if let Some(cache) = options.cache {
        let keep: Vec<&Path> = loaded.iter().filter_map(DecodedVideo::cache_file).collect();
        cache.trim(&keep);
    }
    Ok(loaded)
}

fn check_length(
    video: &Video,
    frames: Option<usize>,
    shape: ClipShape,
) -> Result<(), DatasetError> {
    match frames.filter(|&found| found < shape.frames()) {
        None => Ok(()),
        Some(found) => {
            let (path, needed) = (video.path(), shape.frames());
            Err(FilesError::TooShort { path, found, needed }.into())
        }
    }
}

/// Takes the frames of a video in their order.
type Take<'a> = dyn FnMut(Frame) -> Result<(), DatasetError> + 'a;

struct Loading<'a> {
    options: LoadOptions<'a>,
    done: AtomicUsize,
    progress: &'a (dyn Fn(usize) + Sync),
}

impl Loading<'_> {
    fn video(&self, video: &Video) -> Result<DecodedVideo, DatasetError> {
        let (name, scene) = (&video.name, video.scene.as_deref());
        let decoded = match self.options.cache {
            None => {
                let mut frames = Vec::with_capacity(video.known_frames().unwrap_or_default());
                self.decode(video, &mut |frame| {
                    frames.push(frame);
                    Ok(())
                })?;
                DecodedVideo::in_memory(name, scene, frames)
            }
            Some(cache) => {
                let side = self.options.shape.side();
                let found = cache.frames(video, side, |take| self.decode(video, take))?;
                if !found.made {
                    self.count(found.frames.len());
                }
                DecodedVideo::on_disk(name, scene, found.frames)
            }
        };
        check_length(video, Some(decoded.len()), self.options.shape)?;
        Ok(decoded)
    }

    fn decode(&self, video: &Video, take: &mut Take<'_>) -> Result<(), DatasetError> {
        match &video.source {
            VideoSource::Frames(frames) => {
                self.decode_folder(&video.pace.thinning.of(frames), take)
            }
            VideoSource::File(path) => self.decode_file(path, &video.pace.thinning, take),
        }
    }

    fn decode_folder(&self, paths: &[PathBuf], take: &mut Take<'_>) -> Result<(), DatasetError> {
        let mut one_size = OneSize::default();
        for some in paths.chunks(TOGETHER) {
            let read = |path: &PathBuf| SizedFrame::read(path, &self.options);
            let frames: Vec<Result<SizedFrame, FilesError>> = some.par_iter().map(read).collect();
            for (path, frame) in some.iter().zip(frames) {
                let frame = frame?;
                one_size.check(path, frame.size)?;
                take(frame.resized)?;
                self.count(1);
            }
        }
        Ok(())
    }

    fn decode_file(
        &self,
        path: &Path,
        thinning: &Thinning,
        take: &mut Take<'_>,
    ) -> Result<(), DatasetError> {
        let options = VideoOptions { limits: self.options.limits, ..VideoOptions::default() };
        for (index, frame) in VideoReader::open_with(path, &options)?.enumerate() {
            let frame = frame?;
            if thinning.takes(index) {
                take(resize(&frame, self.options.shape.side()))?;
                self.count(1);
            }
        }
        Ok(())
    }

    fn count(&self, frames: usize) {
        (self.progress)(self.done.fetch_add(frames, Ordering::Relaxed) + frames);
    }
}

/// A frame at the model's side, and the size that it had on disk.
struct SizedFrame {
    size: Size,
    resized: Frame,
}

impl SizedFrame {
    fn read(path: &Path, options: &LoadOptions<'_>) -> Result<Self, FilesError> {
        let bytes =
            fs::read(path).map_err(|source| FilesError::Io { path: path.into(), source })?;
        let frame = decode(&bytes, &options.limits)
            .map_err(|source| FilesError::Frame { path: path.into(), source })?;
        let size = Size { height: frame.height(), width: frame.width() };
        Ok(Self { size, resized: resize(&frame, options.shape.side()) })
    }
}
