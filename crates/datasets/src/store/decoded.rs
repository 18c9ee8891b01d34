//! A decoded video and its clips.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use protoguard_core::{Clip, ClipShape, ClipWindow, Frame};

use super::file::CachedFrames;
use crate::DatasetError;

/// A video whose frames are decoded and resized, or a part of one. Cloning it copies no frame.
#[derive(Clone, Debug)]
pub struct DecodedVideo {
    /// The video's name.
    pub name: String,
    /// The camera's scene, where it is known.
    pub scene: Option<String>,
    frames: Frames,
    /// Which of the frames belong to this part.
    part: Range<usize>,
}

#[derive(Clone, Debug)]
enum Frames {
    Memory(Arc<[Frame]>),
    File(Arc<CachedFrames>),
}

impl DecodedVideo {
    /// A video whose frames, in temporal order, are in memory.
    pub fn in_memory(name: &str, scene: Option<&str>, frames: Vec<Frame>) -> Self {
        let part = 0..frames.len();
        let (name, scene) = (name.to_owned(), scene.map(str::to_owned));
        Self { name, scene, frames: Frames::Memory(frames.into()), part }
    }

    pub(super) fn on_disk(name: &str, scene: Option<&str>, frames: CachedFrames) -> Self {
        let part = 0..frames.len();
        let (name, scene) = (name.to_owned(), scene.map(str::to_owned));
        Self { name, scene, frames: Frames::File(Arc::new(frames)), part }
    }

    /// How many frames it has.
    pub fn len(&self) -> usize {
        self.part.len()
    }

    /// Whether it has no frames.
    pub fn is_empty(&self) -> bool {
        self.part.is_empty()
    }

    /// Which frames of the whole video these are.
    pub fn range(&self) -> Range<usize> {
        self.part.clone()
    }

    /// The file of a cache that has its frames.
    pub(super) fn cache_file(&self) -> Option<&Path> {
        match &self.frames {
            Frames::Memory(_) => None,
            Frames::File(file) => Some(file.path()),
        }
    }

    /// The frames of `range`, sharing their storage.
    ///
    /// # Panics
    /// When the range ends behind the last frame.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Self {
        assert!(range.end <= self.len(), "{range:?} of {} frames", self.len());
        let part = self.part.start + range.start..self.part.start + range.end;
        Self { part, ..self.clone() }
    }

    /// The frame at `index`, at the model's side; nothing behind the last one.
    ///
    /// # Errors
    /// When the frame cache cannot be read.
    pub fn frame(&self, index: usize) -> Result<Option<Frame>, DatasetError> {
        if index >= self.len() {
            return Ok(None);
        }
        let index = self.part.start + index;
        match &self.frames {
            Frames::Memory(frames) => Ok(frames.get(index).cloned()),
            Frames::File(file) => Ok(Some(file.read(index)?)),
        }
    }

    /// How many clips the video gives: one for each frame that has `t` frames before it.
    pub fn clip_count(&self, shape: ClipShape) -> usize {
        self.len().saturating_sub(shape.past_frames())
    }

    /// The clip whose oldest frame is `start`; its target is frame `start + t`. Nothing where the
    /// video ends before, or its frames are not of the shape's side.
    ///
    /// # Errors
    /// When the frame cache cannot be read.
    pub fn clip_at(&self, shape: ClipShape, start: usize) -> Result<Option<Clip>, DatasetError> {
        let end = start.checked_add(shape.frames()).filter(|&end| end <= self.len());
        let Some(end) = end else { return Ok(None) };
        self.clip_of(shape, start..end)
    }

    /// A companion of the clip at `start` in which everything moves `stride` times as fast: its
    /// frames are so far apart. It ends where that clip does, or a little later where the video has
    /// too little before it, and the stride is smaller where the video is too short for it. Nothing
    /// where there is no such clip.
    ///
    /// # Errors
    /// When the frame cache cannot be read.
    pub fn sped_up_clip(
        &self,
        shape: ClipShape,
        start: usize,
        stride: usize,
    ) -> Result<Option<Clip>, DatasetError> {
        let past = shape.past_frames();
        let Some(last) = self.clip_count(shape).checked_sub(1).filter(|&last| start <= last) else {
            return Ok(None);
        };
        let stride = stride.min((last + past) / past);
        let end = (start + past).max(stride * past);
        self.clip_of(shape, (0..=past).rev().map(|back| end - back * stride))
    }

    /// The clip of these frames; nothing where they are none of the shape's.
    fn clip_of(
        &self,
        shape: ClipShape,
        indices: impl Iterator<Item = usize>,
    ) -> Result<Option<Clip>, DatasetError> {
        let frames = indices.filter_map(|index| self.frame(index).transpose());
        Ok(Clip::new(shape, frames.collect::<Result<_, _>>()?).ok())
    }

    /// All clips in temporal order, at stride 1. Every frame is read once.
    ///
    /// An error of the frame cache is the last item.
    pub fn clips(&self, shape: ClipShape) -> impl Iterator<Item = Result<Clip, DatasetError>> + '_ {
        let mut window = ClipWindow::new(shape);
        let mut ended = false;
        let frames = (0..self.len()).map_while(move |index| {
            let frame = if ended { None } else { self.frame(index).transpose() };
            ended = matches!(frame, Some(Err(_)));
            frame
        });
        frames.filter_map(move |frame| match frame {
            Ok(frame) => window.push(frame).ok().flatten().map(Ok),
            Err(error) => Some(Err(error)),
        })
    }
}
