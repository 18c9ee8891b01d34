use std::path::{Path, PathBuf};

use anyhow::Context;
use protoguard_checkpoint::TrainingRecord;
use protoguard_core::{ClipShape, FrameInterval, Mask};
use protoguard_datasets::{DecodedVideo, GroundTruth, Half, PixelTruth, common_interval};
use protoguard_frames::files::Video;
use protoguard_frames::labels::Labels;
use sha2::{Digest, Sha256};

use super::report::Subject;
use crate::source::{Source, wanted_by};

/// Labelled test video, decoded.
pub(super) struct TestData {
    name: String,
    labels: Labels,
    truth: GroundTruth,
    pixels: Option<PixelTruth>,
    listed: Vec<Video>,
    /// How many each of the listed has, taken or not.
    frames: Vec<usize>,
    pub(super) videos: Vec<DecodedVideo>,
}

/// What a model takes of videos.
pub(super) struct ModelInput<'a> {
    pub(super) shape: ClipShape,
    pub(super) training: &'a TrainingRecord,
}

/// Where ground truth is that does not come with the data.
#[derive(Clone, Copy)]
pub(super) struct TruthPaths<'a> {
    pub(super) labels: Option<&'a Path>,
    pub(super) masks: Option<&'a Path>,
}

impl TestData {
    /// Reads the test half at the interval that the model takes, and its labels, which are those of
    /// `paths` where it names some and of all frames, taken or not. Labels that cannot fit are
    /// refused before anything is decoded, as far as lengths are known.
    pub(super) fn read(
        source: &Source,
        paths: TruthPaths<'_>,
        model: &ModelInput<'_>,
    ) -> anyhow::Result<Self> {
        let videos = source.videos(Half::Testing, wanted_by(model.training))?;
        let truth = match paths.labels {
            Some(path) => GroundTruth::file(path)?,
            None => source.dataset.truth(Some(&videos))?,
        };
        let pixels = match paths.masks {
            Some(folder) => Some(PixelTruth::in_folder(folder, &videos)?),
            None => source.dataset.pixel_truth(&videos)?,
        };
        let known = |video: &Video| Some(video.all_frames(video.known_frames()?));
        let known: Option<Vec<usize>> = videos.iter().map(known).collect();
        let early = known.map(|frames| truth.labels(&videos, &frames)).transpose()?;
        let decoded = source.load(&videos, model.shape)?;
        let frames = videos.iter().zip(&decoded).map(|(video, read)| video.all_frames(read.len()));
        let frames: Vec<usize> = frames.collect();
        let labels = match early {
            Some(labels) => labels,
            None => truth.labels(&videos, &frames)?,
        };
        let of_taken = labels.videos().iter().zip(&videos);
        let labels = of_taken.map(|(labels, video)| video.pace.thinning.of(labels)).collect();
        let (name, labels, listed) = (source.name(), Labels::new(labels), videos);
        Ok(Self { name, labels, truth, pixels, listed, frames, videos: decoded })
    }

    /// Whether any video has masks of its abnormal pixels.
    pub(super) fn has_masks(&self) -> bool {
        self.pixels.is_some()
    }

    /// The masks of the frames that get a score, by video, in the size that they are stored in.
    pub(super) fn scored_masks(&self, shape: ClipShape) -> anyhow::Result<Vec<Option<Vec<Mask>>>> {
        let Some(pixels) = &self.pixels else { return Ok(Vec::new()) };
        let masks = pixels.masks(&self.listed, &self.frames, None)?;
        let behind = |(masks, video): (Option<Vec<Mask>>, &Video)| {
            let taken = video.pace.thinning.of(&masks?);
            Some(taken[shape.past_frames()..].to_vec())
        };
        Ok(masks.into_iter().zip(&self.listed).map(behind).collect())
    }

    /// The time between two frames that were read; none where nothing says it of all videos, or they
    /// differ, as where the model does not say what it takes.
    pub(super) fn frame_interval(&self) -> Option<FrameInterval> {
        common_interval(&self.listed).ok().flatten()
    }

    /// The labels of the frames that get a score.
    pub(super) fn scored_labels(&self, shape: ClipShape) -> Vec<Vec<bool>> {
        let behind = |labels: &Vec<bool>| labels[shape.past_frames()..].to_vec();
        self.labels.videos().iter().map(behind).collect()
    }

    pub(super) fn subject(
        &self,
        model_version: &str,
        scored: &[Vec<bool>],
    ) -> anyhow::Result<Subject> {
        Ok(Subject {
            model_version: model_version.to_owned(),
            data: self.name.clone(),
            labels: self.truth.describe(),
            labels_sha256: hash_of(self.truth.files())?,
            videos: self.videos.len(),
            frames: self.labels.frames(),
            frames_scored: scored.iter().map(Vec::len).sum(),
            abnormal: scored.iter().flatten().filter(|&&abnormal| abnormal).count(),
            frame_interval: self.frame_interval(),
        })
    }
}

/// The hash of one file, or of the hashes of several in their order.
fn hash_of(files: &[PathBuf]) -> anyhow::Result<String> {
    let of_bytes = |bytes: &[u8]| -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let mut hashes = Vec::new();
    for path in files {
        let mut paths = vec![path.clone()];
        if path.is_dir() {
            let entries = std::fs::read_dir(path).with_context(|| format!("reading {path:?}"))?;
            paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
            paths.sort();
        }
        for path in paths.iter().filter(|path| path.is_file()) {
            let bytes = std::fs::read(path).with_context(|| format!("reading {path:?}"))?;
            hashes.push(of_bytes(&bytes));
        }
    }
    match hashes.as_slice() {
        [one] => Ok(one.clone()),
        several => Ok(of_bytes(several.concat().as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use protoguard_datasets::CacheChoice;

    use super::*;
    use crate::source::SourceArgs;

    /// Twelve test frames of level `10 n`, of which 4 to 7 are abnormal, in their upper half.
    fn twelve_frames() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let folder = root.path().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            folder
        };
        let (frames, masks) = (folder("testing/frames/01"), folder("masks/01"));
        for frame in 0..12u8 {
            let picture = image::GrayImage::from_pixel(16, 16, image::Luma([10 * frame]));
            picture.save(frames.join(format!("{frame:03}.png"))).unwrap();
            let abnormal = (4..8).contains(&frame);
            let mask = |_, y| image::Luma([if abnormal && y < 8 { 255 } else { 0 }]);
            image::GrayImage::from_fn(16, 16, mask)
                .save(masks.join(format!("{frame:03}.png")))
                .unwrap();
        }
        std::fs::write(root.path().join("labels.csv"), "video,first,last\n01,4,7\n").unwrap();
        root
    }

    fn read(root: &Path, interval: Option<f64>, fps: Option<f64>) -> anyhow::Result<TestData> {
        let cache = Some(CacheChoice::Off);
        let fps = fps.map(|fps| (1e3 / fps).try_into().unwrap());
        let source = Source::open(root, &SourceArgs { fps, cache, ..SourceArgs::default() })?;
        let frame_interval = interval.map(|interval| interval.try_into().unwrap());
        let training = TrainingRecord { frame_interval, ..TrainingRecord::default() };
        let shape = ClipShape::new(2, 16).unwrap();
        let truth = TruthPaths { labels: None, masks: None };
        TestData::read(&source, truth, &ModelInput { shape, training: &training })
    }

    #[test]
    fn labels_and_masks_are_those_of_the_frames_that_are_read() {
        let shape = ClipShape::new(2, 16).unwrap();
        let folder = twelve_frames();
        let read = |interval, fps| read(folder.path(), interval, fps);
        let thinned = read(Some(100.0), Some(20.0)).unwrap();
        let levels = (0..6).map(|at| thinned.videos[0].frame(at).unwrap().unwrap().pixels()[0]);
        assert_eq!(levels.collect::<Vec<_>>(), [0, 20, 40, 60, 80, 100]);
        // Of 4, 6, 8 and 10, the frames with a score, two are abnormal.
        assert_eq!(thinned.scored_labels(shape), [[true, true, false, false]]);
        let masks = thinned.scored_masks(shape).unwrap().remove(0).unwrap();
        let marked: Vec<bool> = masks.iter().map(|mask| mask.any()).collect();
        assert_eq!(marked, [true, true, false, false]);
        assert_eq!(thinned.frame_interval().map(f64::from), Some(100.0));
        // A model that says nothing of its interval takes all frames, as it did before.
        let all = read(None, Some(20.0)).unwrap();
        assert_eq!((all.videos[0].len(), all.frame_interval().map(f64::from)), (12, Some(50.0)));
        let unknown = read(Some(100.0), None).unwrap();
        assert_eq!((unknown.videos[0].len(), unknown.frame_interval()), (12, None));
        let error = read(Some(100.0), Some(4.0)).err().unwrap().to_string();
        assert!(error.contains("250.0 ms") && error.contains("100.0 ms"), "{error}");
    }
}
