use std::path::Path;

use indicatif::ProgressBar;
use protoguard_core::ClipShape;
use protoguard_data::{
    DatasetError, DecodeLimits, DecodedVideo, Video, dataset, load, split_held_out,
};

use crate::progress;

/// Normal video, decoded once, in the part that weights are fitted to and the part that is not.
#[derive(Debug)]
pub struct TrainingData {
    /// The data folder's name, for the checkpoint.
    pub name: String,
    /// Videos, or parts of videos, to learn from.
    pub training: Vec<DecodedVideo>,
    /// The end of every training video, for calibration and the validation loss.
    pub held_out: Vec<DecodedVideo>,
}

impl TrainingData {
    /// Decodes and resizes every training frame under `root` and holds out the end of each video.
    ///
    /// # Errors
    /// When the folder is not a data set, or a frame cannot be decoded.
    pub fn read(root: &Path, shape: ClipShape, held_out: f64) -> Result<Self, DatasetError> {
        let videos = dataset::training_videos(root)?;
        let decoded = decode(&videos, shape)?;
        let split = split_held_out(&decoded, shape, held_out);
        Ok(Self { name: name_of(root), training: split.training, held_out: split.held_out })
    }

    /// Checks that there is enough for one step and for a calibration.
    ///
    /// # Errors
    /// When there is not, with what would be enough.
    pub fn check_size(&self, shape: ClipShape, clips_a_step: usize) -> anyhow::Result<()> {
        let clips: usize = self.training.iter().map(|video| video.clip_count(shape)).sum();
        anyhow::ensure!(
            clips >= clips_a_step,
            "training videos give {clips} clips; at least training.batch_size times training.accumulate = {clips_a_step} are needed"
        );
        anyhow::ensure!(
            self.held_out.iter().any(|video| video.clip_count(shape) > 0),
            "no training video is long enough to hold out its end for calibration; at least {} frames are needed",
            2 * shape.frames()
        );
        Ok(())
    }

    /// Clips of both parts.
    pub fn describe(&self, shape: ClipShape) -> String {
        let clips =
            |videos: &[DecodedVideo]| -> usize { videos.iter().map(|v| v.clip_count(shape)).sum() };
        format!(
            "{}: {} videos, {} clips, {} held out",
            self.name,
            self.training.len(),
            clips(&self.training),
            clips(&self.held_out)
        )
    }
}

/// Decodes whole videos with a progress bar.
///
/// # Errors
/// When a frame cannot be decoded, or a video is too short for a clip.
pub fn decode(videos: &[Video], shape: ClipShape) -> Result<Vec<DecodedVideo>, DatasetError> {
    let frames = videos.iter().map(|video| video.frames.len()).sum::<usize>();
    let bar: ProgressBar = progress::bar(frames as u64, "decoding");
    let decoded = load(videos, shape, &DecodeLimits::files(), |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    decoded
}

/// The last part of a folder's path, as a report names it.
pub fn name_of(root: &Path) -> String {
    let full = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    full.file_name()
        .map_or_else(|| full.display().to_string(), |name| name.to_string_lossy().into_owned())
}
