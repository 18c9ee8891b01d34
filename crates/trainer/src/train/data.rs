use std::path::Path;

use protoguard_core::{ClipShape, FrameInterval, Recipe};
use protoguard_datasets::{DecodedVideo, Half, HeldOutSplit, common_interval, split_held_out};
use protoguard_frames::pace::{Wanted, apart};

use crate::config::TrainingConfig;
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
    /// The time between two frames; none where nothing says it of all videos.
    pub frame_interval: Option<FrameInterval>,
}

impl TrainingData {
    /// Decodes and resizes every training frame under `root` in memory and holds a share out.
    ///
    /// # Errors
    /// As [`TrainingData::load`], and when the folder is no data set.
    pub fn read(root: &Path, shape: ClipShape, training: &TrainingConfig) -> anyhow::Result<Self> {
        Self::load(&Source::in_memory(root)?, shape, training)
    }

    /// The training frames of a data set at one rate, a share of them held out; see
    /// [`split_held_out`].
    ///
    /// # Errors
    /// When the data set has no training half, its videos are of several rates, or not to be thinned
    /// to the one that is wanted, or a frame cannot be decoded.
    pub fn load(
        source: &Source,
        shape: ClipShape,
        training: &TrainingConfig,
    ) -> anyhow::Result<Self> {
        let wanted = training.interval().map_or(Wanted::Even, Wanted::At);
        let videos = source.videos(Half::Training, wanted)?;
        let frame_interval = common_interval(&videos)?;
        anyhow::ensure!(
            frame_interval.is_some() || training.train_fps == 0.0,
            "training.train_fps is {}, and nothing says how fast the frames of all videos are; --fps is needed",
            training.train_fps
        );
        let decoded = source.load(&videos, shape)?;
        let split = split_held_out(&decoded, shape, training.held_out);
        let (name, HeldOutSplit { training, held_out }) = (source.name(), split);
        Ok(Self { name, training, held_out, frame_interval })
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
        let frames = self.frame_interval.map(|it| format!(", frames {}", apart(it)));
        format!(
            "{}: {} videos, {} clips, {} held out{}",
            self.name,
            self.training.len(),
            clips(&self.training),
            clips(&self.held_out),
            frames.unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use protoguard_core::Frame;
    use protoguard_datasets::CacheChoice;
    use protoguard_datasets::synth::write_dataset;
    use protoguard_frames::scenes::SynthConfig;

    use super::*;
    use crate::source::SourceArgs;

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
            frame_interval: None,
        };
        assert_eq!(data(8).describe(shape), "yard: 2 videos, 16 clips, 4 held out");
        let timed = TrainingData { frame_interval: Some(40.0.try_into().unwrap()), ..data(8) };
        let expected = "4 held out, frames 40 ms apart (25 a second)";
        assert!(timed.describe(shape).ends_with(expected));
        data(8).check_size(shape, 16).unwrap();
        let error = data(8).check_size(shape, 17).unwrap_err().to_string();
        assert!(error.starts_with("training videos give 16 clips; at least"), "{error}");
        assert!(error.ends_with("= 17 are needed"), "{error}");
        let error = data(7).check_size(shape, 16).unwrap_err().to_string();
        assert!(error.starts_with("held-out video gives 3 clips; at least 4 are"), "{error}");
    }

    /// Four drawn videos of 60 frames, ten a second.
    fn drawn() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let scenes = SynthConfig {
            training_videos: 4,
            testing_videos: 1,
            frames_per_video: 60,
            height: 32,
            width: 32,
            ..SynthConfig::default()
        };
        write_dataset(&scenes, root.path()).unwrap();
        root
    }

    #[test]
    fn video_is_thinned_to_the_rate_that_is_wanted() {
        let root = drawn();
        let shape = ClipShape::new(4, 16).unwrap();
        let of = |train_fps| {
            let training = TrainingConfig { train_fps, ..TrainingConfig::default() };
            TrainingData::read(root.path(), shape, &training)
        };
        let found = |train_fps| {
            let data = of(train_fps).unwrap();
            let frames =
                |videos: &[DecodedVideo]| -> usize { videos.iter().map(|v| v.len()).sum() };
            let interval = data.frame_interval.map(FrameInterval::milliseconds);
            (frames(&data.training) + frames(&data.held_out), interval)
        };
        assert_eq!(found(0.0), (240, Some(100.0)));
        assert_eq!(found(5.0), (120, Some(200.0)));
        assert_eq!(found(11.0), (240, Some(100.0)));
        let error = of(25.0).unwrap_err().to_string();
        assert!(error.contains("100.0 ms") && error.contains("40.0 ms"), "{error}");
        // Without a word of the rate there is nothing to record, and nothing to thin by.
        std::fs::remove_file(root.path().join("synth.json")).unwrap();
        assert_eq!(found(0.0), (240, None));
        let error = of(5.0).unwrap_err().to_string();
        assert!(error.starts_with("training.train_fps is 5") && error.contains("--fps"), "{error}");
        let args = SourceArgs {
            fps: Some(200.0.try_into().unwrap()),
            cache: Some(CacheChoice::Off),
            ..SourceArgs::default()
        };
        let source = Source::open(root.path(), &args).unwrap();
        let data = TrainingData::load(&source, shape, &TrainingConfig::default()).unwrap();
        assert_eq!(data.frame_interval, args.fps);
    }
}
