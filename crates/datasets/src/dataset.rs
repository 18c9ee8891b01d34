//! Data sets on disk: their layouts, their videos and their labels.
//!
//! A [`Dataset`] is found by looking at a folder; see [`Layout`] for what is known. Whatever the
//! layout, it gives [`Video`]s and [`GroundTruth`], and nothing after that knows of folders.

use std::path::{Path, PathBuf};

use protoguard_core::FrameInterval;
use protoguard_frames::files::{Folder, Video, name_of, natural_order, videos_in, videos_under};
use protoguard_frames::pace::{Clock, Wanted, interval_at};
use rayon::prelude::*;

use crate::error::DatasetError;
use crate::labels::{ClipMasks, GroundTruth, LabelsError, PixelTruth, find_labels};
use crate::layout::{Half, Layout, Placed, frame_masks, label_masks};
use crate::numbers::{number_in, place_of};
use crate::synth::drawn_rate;

/// What a folder without a known layout may hold.
const OWN: &str = "a folder of frames (.jpg, .png, .bmp, .tif), of such folders, or of videos";

/// A folder with a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    root: PathBuf,
    layout: Layout,
}

impl Dataset {
    /// The data set at `path`, of the layout that is given or found.
    ///
    /// # Errors
    /// When there is no such folder, no layout fits it, or several data sets are in it.
    pub fn open(path: &Path, layout: Option<Layout>) -> Result<Self, DatasetError> {
        let placed = match layout {
            Some(layout) => layout.place(path)?,
            None => Layout::detect(path)?,
        };
        let Placed { root, layout } = placed;
        Ok(Self { root, layout })
    }

    /// The folder that has the layout: the one given, or one in it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The layout.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The folder's name, as a report writes it.
    pub fn name(&self) -> String {
        name_of(&self.root.canonicalize().unwrap_or_else(|_| self.root.clone()))
    }

    /// The videos of a half, in natural order of their names. A folder of one's own without
    /// halves gives the same for both.
    ///
    /// # Errors
    /// When the half's folder is missing, or it or one of its videos holds no frames.
    pub fn videos(&self, half: Half) -> Result<Vec<Video>, DatasetError> {
        let folder = self.layout.half(&self.root, half);
        Ok(match self.layout {
            Layout::Own => videos_under(&folder, OWN)?,
            layout => videos_in(&folder, layout.expected(half))?,
        })
    }

    /// The videos of a half, each with how it is read by a clock; see [`Video::paced`].
    ///
    /// # Errors
    /// As [`Dataset::videos`], and when a video's interval cannot be brought to the wanted one.
    pub fn videos_at(&self, half: Half, clock: Clock) -> Result<Vec<Video>, DatasetError> {
        let videos = self.videos(half)?;
        let paced: Vec<_> = videos.into_par_iter().map(|video| video.paced(clock)).collect();
        // The first error in order, whichever came first.
        Ok(paced.into_iter().collect::<Result<_, _>>()?)
    }

    /// Frames a second of a published or drawn data set: known by its layout, by `synth.json`, or by
    /// its folder's name where the layout is of many.
    pub fn frames_per_second(&self) -> Option<f64> {
        let rates = [("ped1", 10.0), ("ped2", 10.0), ("avenue", 25.0), ("shanghaitech", 24.0)];
        match self.layout {
            Layout::Ucsd => Some(10.0),
            Layout::Avenue => Some(25.0),
            Layout::ShanghaiTech => Some(24.0),
            Layout::Converted | Layout::Own => drawn_rate(&self.root).or_else(|| {
                let name = self.name().to_lowercase();
                rates.iter().find(|(of, _)| name.contains(of)).map(|&(_, rate)| rate)
            }),
        }
    }

    /// The clock of its videos: the rate of its folders of frames is `untimed` or else its own, and
    /// `wanted` what they are thinned to.
    pub fn clock(&self, untimed: Option<FrameInterval>, wanted: Wanted) -> Clock {
        let own = || self.frames_per_second().and_then(interval_at);
        Clock { untimed: untimed.or_else(own), wanted }
    }

    /// Where the labels of the test videos come from; of all videos that have labels where
    /// `videos` is none.
    ///
    /// # Errors
    /// When there are no labels, or not for every video.
    pub fn truth(&self, videos: Option<&[Video]>) -> Result<GroundTruth, LabelsError> {
        match self.shipped_truth(videos) {
            // Labels of published sets are also passed on as one array.
            Err(error @ LabelsError::NotFound { .. }) => match find_labels(&self.root) {
                Ok(path) => GroundTruth::file(&path),
                Err(_) => Err(error),
            },
            found => found,
        }
    }

    fn shipped_truth(&self, videos: Option<&[Video]>) -> Result<GroundTruth, LabelsError> {
        match self.layout {
            Layout::Converted | Layout::Own => GroundTruth::file(&find_labels(&self.root)?),
            Layout::Ucsd => self.ucsd_truth(videos.unwrap_or_default()),
            Layout::Avenue => {
                let expected = "testing_label_mask/1_label.mat and so on, one a test video";
                let folder = label_masks(&self.root);
                let files = self.files_by_video(folder, videos, (".mat", expected))?;
                Ok(GroundTruth::matlab_masks(files))
            }
            Layout::ShanghaiTech => {
                let expected = "testing/test_frame_mask/<video>.npy";
                let folder = frame_masks(&self.root);
                let files = self.files_by_video(folder, videos, (".npy", expected))?;
                Ok(GroundTruth::array_by_video(files))
            }
        }
    }

    /// The script, or masks of every clip where there is none.
    fn ucsd_truth(&self, videos: &[Video]) -> Result<GroundTruth, LabelsError> {
        let folder = self.layout.half(&self.root, Half::Testing);
        let scripts = files_ending(&folder, ".m")?;
        if let [script] = scripts.as_slice() {
            return GroundTruth::file(script);
        }
        if !scripts.is_empty() {
            let names: Vec<String> = scripts.iter().map(|path| name_of(path)).collect();
            let (found, names) = (scripts.len(), names.join(", "));
            return Err(LabelsError::Ambiguous { root: folder, found, names });
        }
        let masks = videos.iter().map(|video| folder.join(format!("{}_gt", video.name)));
        let masks: Vec<PathBuf> = masks.collect();
        if masks.is_empty() || masks.iter().any(|folder| !folder.is_dir()) {
            let expected = "UCSDped1.m or UCSDped2.m, or a folder of masks beside every test clip";
            return Err(LabelsError::NotFound { root: folder, expected });
        }
        Ok(GroundTruth::pictures(masks))
    }

    /// The folders of UCSD's mask pictures, with the numbers of their clips.
    pub fn clip_masks(&self) -> Vec<ClipMasks> {
        let folder = self.layout.half(&self.root, Half::Testing);
        let Ok(folder) = Folder::read(&folder, self.layout.expected(Half::Testing)) else {
            return Vec::new();
        };
        let clip = |folder: PathBuf| {
            let number = number_in(&name_of(&folder))?;
            Some(ClipMasks { number, folder })
        };
        folder.masks.into_iter().filter_map(clip).collect()
    }

    /// Where the abnormal pixels of test videos are told: Avenue's MATLAB files, UCSD's folders
    /// `<video>_gt` beside the videos, or folders `masks/<video>` of one picture a frame; nothing
    /// where no video has any.
    ///
    /// # Errors
    /// When a folder that is there cannot be read.
    pub fn pixel_truth(&self, videos: &[Video]) -> Result<Option<PixelTruth>, LabelsError> {
        let places = |found: &[PathBuf]| -> Vec<Option<PathBuf>> {
            videos.iter().map(|video| place_of(video, found)).collect()
        };
        let matlab = label_masks(&self.root).filter(|_| self.layout == Layout::Avenue);
        let truth = match matlab {
            Some(folder) => PixelTruth::matlab(places(&files_ending(&folder, ".mat")?)),
            None => {
                let beside = self.clip_masks().into_iter().map(|clip| clip.folder);
                PixelTruth::pictures(places(&beside.collect::<Vec<_>>()))
            }
        };
        let folder = self.root.join("masks");
        if truth.videos() == 0 && folder.is_dir() {
            return PixelTruth::in_folder(&folder, videos).map(Some);
        }
        Ok((truth.videos() > 0).then_some(truth))
    }

    /// One file a video in `folder`, found by name, or by number where names differ.
    fn files_by_video(
        &self,
        folder: Option<PathBuf>,
        videos: Option<&[Video]>,
        (ending, expected): (&str, &'static str),
    ) -> Result<Vec<PathBuf>, LabelsError> {
        let not_found = || LabelsError::NotFound { root: self.root.clone(), expected };
        let folder = folder.ok_or_else(not_found)?;
        let files = files_ending(&folder, ending)?;
        let Some(videos) = videos else {
            return if files.is_empty() { Err(not_found()) } else { Ok(files) };
        };
        let of_video = |video: &Video| {
            place_of(video, &files).ok_or_else(|| LabelsError::NoEntry {
                path: folder.clone(),
                video: video.name.clone(),
                expected,
            })
        };
        videos.iter().map(of_video).collect()
    }
}

/// Visible files of a folder whose names end so, in natural order.
fn files_ending(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, LabelsError> {
    let io = |source| LabelsError::Io { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = name_of(&path);
        if name.ends_with(ending) && !name.starts_with('.') && path.is_file() {
            files.push(path);
        }
    }
    files.sort_by(|a, b| natural_order(&name_of(a), &name_of(b)));
    Ok(files)
}

/// The normal videos of a data set of any layout.
///
/// # Errors
/// As [`Dataset::open`] and [`Dataset::videos`].
pub fn training_videos(root: &Path) -> Result<Vec<Video>, DatasetError> {
    Dataset::open(root, None)?.videos(Half::Training)
}

/// The videos of a data set of any layout that are to be judged.
///
/// # Errors
/// As [`Dataset::open`] and [`Dataset::videos`].
pub fn testing_videos(root: &Path) -> Result<Vec<Video>, DatasetError> {
    Dataset::open(root, None)?.videos(Half::Testing)
}
