//! Requests made of the drawn scenes' frames.

use std::fs;
use std::path::{Path, PathBuf};

use protoguard_proto::v1::score_clip_request::Clip;
use protoguard_proto::v1::{EncodedFrames, RawFrames, ScoreClipRequest};

use crate::trained::{PAST_FRAMES, Trained};

/// Frames of a clip, the target included.
pub(crate) const CLIP: usize = PAST_FRAMES + 1;

/// The folders of test videos, in order.
pub(crate) fn videos(data: &Path) -> Vec<PathBuf> {
    sorted(&data.join("testing/frames"))
}

/// The files of a folder in order of their names.
pub(crate) fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The bytes of the frame files that the `index`-th clip of the first test video is made of.
pub(crate) fn files(trained: &Trained, index: usize) -> Vec<Vec<u8>> {
    let paths = sorted(&videos(&trained.data)[0]);
    paths[index..index + CLIP].iter().map(|path| fs::read(path).unwrap()).collect()
}

/// That clip as it lies on disk.
pub(crate) fn encoded(trained: &Trained, index: usize) -> ScoreClipRequest {
    from_files(files(trained, index))
}

/// A request of compressed frames.
pub(crate) fn from_files(files: Vec<Vec<u8>>) -> ScoreClipRequest {
    let frames = files.into_iter().map(Into::into).collect();
    of(Clip::EncodedFrames(EncodedFrames { frames }))
}

/// A request for any clip.
pub(crate) fn of(clip: Clip) -> ScoreClipRequest {
    ScoreClipRequest { clip: Some(clip), ..Default::default() }
}

/// That clip as raw 8-bit RGB at its own size.
pub(crate) fn raw(trained: &Trained, index: usize) -> RawFrames {
    let frames: Vec<image::RgbImage> = files(trained, index)
        .iter()
        .map(|bytes| image::load_from_memory(bytes).unwrap().into_rgb8())
        .collect();
    RawFrames {
        height: frames[0].height(),
        width: frames[0].width(),
        count: frames.len() as u32,
        data: frames.into_iter().flat_map(image::RgbImage::into_raw).collect::<Vec<u8>>().into(),
        ..Default::default()
    }
}
