use anyhow::Context;
use protoguard_core::{ClipShape, Frame};
use protoguard_datasets::DecodedVideo;
use protoguard_datasets::anomalies::{InsertError, InsertPlan, InsertedKind, insert};

/// Long videos are cut into stretches of so many frames, each with one event.
const STRETCH: usize = 200;
/// Where there are fewer stretches than this, each is used several times, with another kind.
const EVENTS: usize = 10;

/// Normal videos with one anomaly in each.
#[derive(Clone, Debug, Default)]
pub struct InsertedSet {
    /// The videos.
    pub videos: Vec<InsertedVideo>,
    /// Why a kind is not in a video, in which nothing moves as it needs.
    pub skipped: Vec<String>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct InsertedVideo {
    /// What was put in.
    pub kind: InsertedKind,
    /// The frames.
    pub video: DecodedVideo,
    /// True for a frame that shows it; one a frame.
    pub labels: Vec<bool>,
}

impl InsertedSet {
    /// Puts every kind of anomaly into normal videos, which take turns; `seed` decides where and
    /// how.
    ///
    /// # Errors
    /// When a frame cannot be read, or nothing at all can be put in.
    pub fn make(normal: &[DecodedVideo], seed: u64) -> anyhow::Result<Self> {
        let stretches: Vec<DecodedVideo> = normal.iter().flat_map(stretches).collect();
        let kinds = InsertedKind::ALL.len();
        let times = EVENTS.div_ceil(stretches.len().max(1)).clamp(1, kinds);
        let frames: Vec<Vec<Frame>> =
            stretches.iter().map(frames).collect::<anyhow::Result<_>>()?;
        let mut set = Self::default();
        for turn in 0..stretches.len() * times {
            let index = turn / times;
            let kind = InsertedKind::ALL[turn % kinds];
            let of_turn = InsertPlan::of_video(seed, turn, frames[index].len());
            let plan = InsertPlan { kinds: vec![kind], ..of_turn };
            let donor = &frames[(index + 1) % frames.len()];
            let (name, scene) = (&stretches[index].name, stretches[index].scene.as_deref());
            match insert(&frames[index], donor, &plan) {
                Ok(made) => {
                    let video =
                        DecodedVideo::in_memory(&format!("{name}, {kind}"), scene, made.frames);
                    set.videos.push(InsertedVideo { kind, video, labels: made.labels });
                }
                Err(reason @ (InsertError::NoMotion { .. } | InsertError::TooShort { .. })) => {
                    set.skipped.push(format!("{name}: {reason}"));
                }
                Err(broken) => return Err(broken.into()),
            }
        }
        anyhow::ensure!(
            !set.videos.is_empty(),
            "nothing could be put into {} stretches of normal video; the first: {}",
            stretches.len(),
            set.skipped.first().map_or("there is no video", String::as_str)
        );
        Ok(set)
    }

    /// The labels of the frames that get a score.
    pub fn scored_labels(&self, shape: ClipShape) -> Vec<Vec<bool>> {
        self.videos.iter().map(|made| made.labels[shape.past_frames()..].to_vec()).collect()
    }
}

fn stretches(video: &DecodedVideo) -> Vec<DecodedVideo> {
    let count = (video.len() / STRETCH).max(1);
    (0..count)
        .map(|at| video.part(at * video.len() / count..(at + 1) * video.len() / count))
        .collect()
}

fn frames(video: &DecodedVideo) -> anyhow::Result<Vec<Frame>> {
    let frame = |index| video.frame(index)?.context("a frame inside the video is there");
    (0..video.len()).map(frame).collect()
}
