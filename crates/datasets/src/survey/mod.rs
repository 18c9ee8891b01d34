//! What is in a data set: every video with its size and labels, and everything odd.
//!
//! A survey does not end at the first fault. Structure is checked from names and from the heads
//! of files; [`SurveyOptions::decode`] decodes every frame as training would.

mod labels;
mod oddity;
mod video;

use std::path::PathBuf;

use protoguard_core::FrameInterval;
use protoguard_frames::files::{FilesError, Video};
use protoguard_frames::pace::Wanted;
use rayon::prelude::*;
use serde::Serialize;

use crate::dataset::Dataset;
use crate::error::DatasetError;
use crate::layout::Half;
use oddity::Ignored;
pub use oddity::Oddity;

/// How closely to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SurveyOptions {
    /// Decode every frame instead of the heads of files.
    pub decode: bool,
}

/// What is in a data set.
#[derive(Clone, Debug, Serialize)]
pub struct Survey {
    /// The folder that has the layout.
    pub root: PathBuf,
    /// Name of the layout.
    pub layout: &'static str,
    /// Whether every frame was decoded, or only the heads of files read.
    pub decoded: bool,
    /// The halves that are there. A folder of one's own without halves is one of both names.
    pub halves: Vec<HalfSurvey>,
    /// The ground truth, where there is any.
    pub labels: Option<LabelSurvey>,
    /// What a person should know, problems first.
    pub oddities: Vec<Oddity>,
}

/// One half of a data set.
#[derive(Clone, Debug, Serialize)]
pub struct HalfSurvey {
    /// `training`, `testing`, or `training and testing`.
    pub name: &'static str,
    /// Its folder.
    pub folder: PathBuf,
    /// In natural order of their names.
    pub videos: Vec<VideoSurvey>,
}

/// One video.
#[derive(Clone, Debug, Serialize)]
pub struct VideoSurvey {
    /// Its name.
    pub name: String,
    /// The camera's scene, where the name tells it.
    pub scene: Option<String>,
    /// The encoding of its frames, or the codec of its file.
    pub format: String,
    /// How many frames it has.
    pub frames: usize,
    /// Height of its first frame in pixels; absent where it cannot be read.
    pub height: Option<usize>,
    /// Width of its first frame in pixels.
    pub width: Option<usize>,
    /// Mean frames a second, which only video files tell.
    pub fps: Option<f64>,
    /// Milliseconds between frames, by a file's time stamps or by what is known of the data set;
    /// absent where nothing says it.
    #[serde(rename = "frame_interval_ms")]
    pub frame_interval: Option<FrameInterval>,
    /// Abnormal frames; absent without labels.
    pub abnormal: Option<usize>,
}

/// The ground truth.
#[derive(Clone, Debug, Serialize)]
pub struct LabelSurvey {
    /// The files it rests on, for a person to read.
    pub source: String,
    /// Frames with a label.
    pub frames: usize,
    /// Abnormal ones among them.
    pub abnormal: usize,
}

impl HalfSurvey {
    /// Frames of all videos.
    pub fn frames(&self) -> usize {
        self.videos.iter().map(|video| video.frames).sum()
    }

    /// The shortest and the longest interval between frames; absent where none is known.
    pub fn frame_intervals(&self) -> Option<[FrameInterval; 2]> {
        let known = self.videos.iter().filter_map(|video| video.frame_interval);
        let mut known: Vec<FrameInterval> = known.collect();
        known.sort_by(|a, b| a.milliseconds().total_cmp(&b.milliseconds()));
        Some([*known.first()?, *known.last()?])
    }
}

impl Survey {
    /// Looks at everything in `dataset`. `progress` is called with the number of videos done so
    /// far of a half, from any thread.
    ///
    /// # Errors
    /// When neither half holds a video and there is no ground truth either: then there is nothing
    /// to report.
    pub fn of(
        dataset: &Dataset,
        options: SurveyOptions,
        progress: impl Fn(usize) + Sync,
    ) -> Result<Self, DatasetError> {
        let mut survey = Self {
            root: dataset.root().to_owned(),
            layout: dataset.layout().name(),
            decoded: options.decode,
            halves: Vec::new(),
            labels: None,
            oddities: Vec::new(),
        };
        let mut ignored = Ignored::default();
        let mut missing = None;
        let mut testing = None;
        for (half, name) in halves(dataset) {
            match dataset.videos(half) {
                Ok(videos) => {
                    survey.add_half(
                        dataset,
                        Looked { half, name, videos: &videos, options },
                        &progress,
                    );
                    ignored.add_half(dataset, half, &videos);
                    testing = Some(videos).filter(|_| half == Half::Testing);
                }
                Err(error) => {
                    let absent = matches!(error, DatasetError::Files(FilesError::NoFolder { .. }));
                    let message = format!("no {name} half: {error}");
                    survey.oddities.push(Oddity { problem: !absent, message });
                    missing = missing.or(Some(error));
                }
            }
        }
        labels::add(&mut survey, dataset, testing.as_deref());
        if let (true, None, Some(error)) = (survey.halves.is_empty(), &survey.labels, missing) {
            return Err(error);
        }
        survey.oddities.extend(ignored.oddities(dataset.root()));
        survey.oddities.sort_by_key(|oddity| !oddity.problem);
        Ok(survey)
    }

    /// How many oddities keep the data set from being used as it is.
    pub fn problems(&self) -> usize {
        self.oddities.iter().filter(|oddity| oddity.problem).count()
    }

    fn add_half(
        &mut self,
        dataset: &Dataset,
        looked: Looked<'_>,
        progress: &(impl Fn(usize) + Sync),
    ) {
        let done = std::sync::atomic::AtomicUsize::new(0);
        let clock = dataset.clock(None, Wanted::AsTheyAre);
        let look = |video: &Video| {
            let found = video::look(video, looked.options.decode, clock);
            progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1);
            found
        };
        let found: Vec<video::Look> = looked.videos.par_iter().map(look).collect();
        let folder = dataset.layout().half(dataset.root(), looked.half);
        let mut half = HalfSurvey { name: looked.name, folder, videos: Vec::new() };
        for look in found {
            self.oddities.extend(look.oddities);
            half.videos.push(look.survey);
        }
        self.oddities.extend(oddity::mixed_sizes(&half));
        self.halves.push(half);
    }
}

/// What [`Survey::add_half`] looks at.
#[derive(Clone, Copy)]
struct Looked<'a> {
    half: Half,
    name: &'static str,
    videos: &'a [Video],
    options: SurveyOptions,
}

/// The halves and their names; one of both names where they are the same folder. That one is the
/// testing half, so that it has labels.
fn halves(dataset: &Dataset) -> Vec<(Half, &'static str)> {
    let folder = |half| dataset.layout().half(dataset.root(), half);
    if folder(Half::Training) == folder(Half::Testing) {
        return vec![(Half::Testing, "training and testing")];
    }
    Half::ALL.map(|half| (half, half.name())).to_vec()
}
