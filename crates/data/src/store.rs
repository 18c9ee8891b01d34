//! Whole videos in memory, as u8 at the model's side.
//!
//! Decoding every frame once and keeping it beats decoding it t + 1 times an epoch: at 256² a
//! frame takes 196 608 bytes, so that Ped2's training half is 0.5 GB.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use protoguard_core::{Clip, ClipShape, Frame};
use rayon::prelude::*;

use crate::{DatasetError, DecodeLimits, ImageFormat, Video, decode, resize};

/// A video whose frames are decoded and resized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedVideo {
    /// The video's name.
    pub name: String,
    /// The camera's scene, where it is known.
    pub scene: Option<String>,
    /// Every frame at the model's side, in temporal order.
    pub frames: Vec<Frame>,
}

impl DecodedVideo {
    /// How many clips the video gives: one for each frame that has `t` frames before it.
    pub fn clip_count(&self, shape: ClipShape) -> usize {
        self.frames.len().saturating_sub(shape.past_frames())
    }

    /// The clip whose oldest frame is `start`; its target is frame `start + t`. Nothing where the
    /// video ends before, or its frames are not of the shape's side.
    pub fn clip_at(&self, shape: ClipShape, start: usize) -> Option<Clip> {
        let frames = self.frames.get(start..start.checked_add(shape.frames())?)?;
        Clip::new(shape, frames.to_vec()).ok()
    }

    /// All clips in temporal order, at stride 1.
    pub fn clips(&self, shape: ClipShape) -> impl Iterator<Item = Clip> + '_ {
        (0..self.clip_count(shape)).filter_map(move |start| self.clip_at(shape, start))
    }
}

/// Decodes and resizes every frame of `videos`, in parallel on rayon's threads.
///
/// Any of [`ImageFormat::ALL`] may lie on disk; `limits.formats` is not consulted. `progress` is
/// called with the number of frames done so far, from any thread.
///
/// # Errors
/// The first in the order of the frames: a video of fewer than `t + 1` frames, a file that cannot
/// be read or decoded, or a frame whose size differs from the first of its video.
pub fn load(
    videos: &[Video],
    shape: ClipShape,
    limits: &DecodeLimits,
    progress: impl Fn(usize) + Sync,
) -> Result<Vec<DecodedVideo>, DatasetError> {
    if let Some(video) = videos.iter().find(|video| video.frames.len() < shape.frames()) {
        let path = video.frames.first().and_then(|frame| frame.parent());
        return Err(DatasetError::TooShort {
            path: path.map_or_else(|| PathBuf::from(&video.name), Path::to_owned),
            found: video.frames.len(),
            needed: shape.frames(),
        });
    }
    let limits = DecodeLimits { formats: ImageFormat::ALL, ..*limits };
    let done = AtomicUsize::new(0);
    let load_video = |video: &Video| {
        let read = |path: &PathBuf| {
            let frame = SizedFrame::read(path, shape.side(), &limits)?;
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            Ok(frame)
        };
        let frames: Vec<Result<SizedFrame, DatasetError>> =
            video.frames.par_iter().map(read).collect();
        let frames = of_one_size(video, frames)?;
        Ok(DecodedVideo { name: video.name.clone(), scene: video.scene.clone(), frames })
    };
    videos.iter().map(load_video).collect()
}

/// A frame at the model's side, and the size that it had on disk.
struct SizedFrame {
    height: usize,
    width: usize,
    frame: Frame,
}

impl SizedFrame {
    fn read(path: &Path, side: usize, limits: &DecodeLimits) -> Result<Self, DatasetError> {
        let bytes =
            fs::read(path).map_err(|source| DatasetError::Io { path: path.into(), source })?;
        let frame = decode(&bytes, limits)
            .map_err(|source| DatasetError::Frame { path: path.into(), source })?;
        let (height, width) = (frame.height(), frame.width());
        Ok(Self { height, width, frame: resize(&frame, side) })
    }
}

fn of_one_size(
    video: &Video,
    frames: Vec<Result<SizedFrame, DatasetError>>,
) -> Result<Vec<Frame>, DatasetError> {
    let mut first = None;
    let mut kept = Vec::with_capacity(frames.len());
    for (path, frame) in video.frames.iter().zip(frames) {
        let SizedFrame { height, width, frame } = frame?;
        let (first_height, first_width) = *first.get_or_insert((height, width));
        if (height, width) != (first_height, first_width) {
            let path = path.clone();
            return Err(DatasetError::MixedSizes {
                path,
                height,
                width,
                first_height,
                first_width,
            });
        }
        kept.push(frame);
    }
    Ok(kept)
}

/// Training videos in two parts that share no frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldOutSplit {
    /// What weights are fitted to.
    pub training: Vec<DecodedVideo>,
    /// What calibration and the validation loss rest on.
    pub held_out: Vec<DecodedVideo>,
}

/// Holds out the last `fraction` of every video. No clip crosses the cut.
///
/// A video too short to leave both parts `t + 1` frames stays whole in training; where the
/// fraction alone is too short, the held-out part is the shortest that gives a clip.
pub fn split_held_out(videos: &[DecodedVideo], shape: ClipShape, fraction: f64) -> HeldOutSplit {
    let mut split = HeldOutSplit { training: Vec::new(), held_out: Vec::new() };
    for video in videos {
        let frames = video.frames.len();
        let share = (frames as f64 * fraction.clamp(0.0, 1.0)).round() as usize;
        let held_out = if share == 0 { 0 } else { share.max(shape.frames()) };
        if held_out == 0 || frames < held_out + shape.frames() {
            split.training.push(video.clone());
            continue;
        }
        let part = |frames: &[Frame]| DecodedVideo {
            name: video.name.clone(),
            scene: video.scene.clone(),
            frames: frames.to_vec(),
        };
        let (kept, last) = video.frames.split_at(frames - held_out);
        split.training.push(part(kept));
        split.held_out.push(part(last));
    }
    split
}
