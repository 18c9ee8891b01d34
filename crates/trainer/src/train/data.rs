use std::path::Path;

use protoguard_core::{ClipShape, Recipe};
use protoguard_datasets::{DatasetError, DecodedVideo, Half, split_held_out};

use crate::source::Source;

/// Normal video, decoded once, in the part that weights are fitted to and the part that is not.
#[derive(Debug)]
pub struct TrainingData {
    /// The data folder's name, for the checkpoint.
    pub name: String,
    /// Videos, or parts of videos, to learn from.
    pub training: Vec<DecodedVideo>,
    /// Whole videos, or the ends of videos where there are few, for bounds, thresholds and the
    /// validation loss.
    pub held_out: Vec<DecodedVideo>,
}

impl TrainingData {
    /// Decodes and resizes every training frame under `root` in memory and holds a share out.
    ///
    /// # Errors
    /// As [`TrainingData::load`], and when the folder is no data set.
    pub fn read(root: &Path, shape: ClipShape, held_out: f64) -> Result<Self, DatasetError> {
        Self::load(&Source::in_memory(root)?, shape, held_out)
    }

    /// Every training frame of a data set, a share of it held out; see [`split_held_out`].
    ///
    /// # Errors
    /// When the data set has no training half, or a frame cannot be decoded.
    pub fn load(source: &Source, shape: ClipShape, held_out: f64) -> Result<Self, DatasetError> {
        let decoded = source.load(&source.videos(Half::Training)?, shape)?;
        let split = split_held_out(&decoded, shape, held_out);
        Ok(Self { name: source.name(), training: split.training, held_out: split.held_out })
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
        let held_out: usize = self.held_out.iter().map(|video| video.clip_count(shape)).sum();
        anyhow::ensure!(
            held_out >= Recipe::MIN_CLIPS,
            "held-out video gives {held_out} clips; at least {} are needed for a calibration: more or longer videos, or a larger training.held_out",
            Recipe::MIN_CLIPS
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

#[cfg(test)]
mod tests {
    use protoguard_core::Frame;

    use super::*;

    #[test]
    fn what_is_too_little_is_told_from_what_is_enough() {
        let shape = ClipShape::new(4, 16).unwrap();
        let video = |frames: usize| {
            let frame = Frame::new(16, 16, vec![0; 768]).unwrap();
            DecodedVideo::in_memory("01", None, vec![frame; frames])
        };
        let data = |held_out: usize| TrainingData {
            name: "yard".to_owned(),
            training: vec![video(14), video(10)],
            held_out: vec![video(held_out)],
        };
        assert_eq!(data(8).describe(shape), "yard: 2 videos, 16 clips, 4 held out");
        data(8).check_size(shape, 16).unwrap();
        let error = data(8).check_size(shape, 17).unwrap_err().to_string();
        assert!(error.starts_with("training videos give 16 clips; at least"), "{error}");
        assert!(error.ends_with("= 17 are needed"), "{error}");
        let error = data(7).check_size(shape, 16).unwrap_err().to_string();
        assert!(error.starts_with("held-out video gives 3 clips; at least 4 are"), "{error}");
    }
}
