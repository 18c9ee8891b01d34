//! How a data set lies on disk, found by looking at the folder.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use protoguard_frames::files::{Folder, name_of};

use crate::error::DatasetError;

/// How a data set lies on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layout {
    /// UCSD Ped1 and Ped2 as their authors ship them: `Train/Train001/001.tif`,
    /// `Test/Test001/001.tif`, `Test/UCSDped2.m`, `Test/Test001_gt/001.bmp`.
    Ucsd,
    /// CUHK Avenue as its authors ship it: `training_videos/01.avi`, `testing_videos/01.avi`,
    /// `testing_label_mask/1_label.mat` (also below `ground_truth_demo`).
    Avenue,
    /// ShanghaiTech as its authors ship it: `training/videos/01_001.avi`,
    /// `testing/frames/01_0014/000.jpg`, `testing/test_frame_mask/01_0014.npy`.
    ShanghaiTech,
    /// What research code converts them to: `training/frames/01/000.jpg`,
    /// `testing/frames/01/000.jpg`, `*frame_labels*.npy`.
    Converted,
    /// One's own: video files or folders of frames, in the folder itself or in its folders
    /// `training` and `testing`, with `frame_labels.npy` or `labels.csv` where there are labels.
    Own,
}

/// The two parts of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Half {
    /// Normal video to learn from.
    Training,
    /// Video to judge.
    Testing,
}

pub(crate) const ANY_LAYOUT: &str = "training/frames/<video>/<frame>.jpg, Train/Train001/*.tif \
    (UCSD), training_videos/*.avi (Avenue), training/videos/*.avi (ShanghaiTech), or video files \
    or folders of frames";

impl Layout {
    /// Every layout; the first that fits a folder is taken.
    pub const ALL: [Self; 5] =
        [Self::Ucsd, Self::Avenue, Self::ShanghaiTech, Self::Converted, Self::Own];

    /// The name that people write.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ucsd => "ucsd",
            Self::Avenue => "avenue",
            Self::ShanghaiTech => "shanghaitech",
            Self::Converted => "converted",
            Self::Own => "own",
        }
    }

    /// The folder of a half, whether it is there or not.
    pub(crate) fn half(self, root: &Path, half: Half) -> PathBuf {
        let of = |training: &str, testing: &str| match half {
            Half::Training => root.join(training),
            Half::Testing => root.join(testing),
        };
        let either = |first: PathBuf, second: PathBuf| {
            if second.is_dir() && !first.is_dir() { second } else { first }
        };
        match self {
            Self::Ucsd => of("Train", "Test"),
            Self::Avenue => of("training_videos", "testing_videos"),
            Self::ShanghaiTech => either(
                of("training/videos", "testing/frames"),
                of("training/frames", "testing/videos"),
            ),
            Self::Converted => of("training/frames", "testing/frames"),
            Self::Own if OWN_HALVES.iter().any(|name| root.join(name).is_dir()) => {
                either(of("training", "testing"), of("train", "test"))
            }
            Self::Own => root.to_owned(),
        }
    }

    /// What the half's folder should hold.
    pub(crate) fn expected(self, half: Half) -> &'static str {
        match (self, half) {
            (Self::Ucsd, Half::Training) => "UCSD's Train/Train001/*.tif",
            (Self::Ucsd, Half::Testing) => "UCSD's Test/Test001/*.tif",
            (Self::Avenue, Half::Training) => "Avenue's training_videos/*.avi",
            (Self::Avenue, Half::Testing) => "Avenue's testing_videos/*.avi",
            (Self::ShanghaiTech, Half::Training) => "ShanghaiTech's training/videos/*.avi",
            (Self::ShanghaiTech, Half::Testing) => "ShanghaiTech's testing/frames/<video>/*.jpg",
            (Self::Converted, Half::Training) => {
                "a data set folder holding training/frames/<video>/<frame>.jpg"
            }
            (Self::Converted, Half::Testing) => {
                "a data set folder holding testing/frames/<video>/<frame>.jpg"
            }
            (Self::Own, _) => "video files or folders of frames",
        }
    }

    /// Whether `root` looks like it.
    pub(crate) fn fits(self, root: &Path) -> bool {
        let there = |name: &str| root.join(name).is_dir();
        let numbered = |name: &str| {
            let folder = Folder::read(&root.join(name), ANY_LAYOUT);
            folder.is_ok_and(|folder| folder.folders.iter().any(|f| name_of(f).starts_with(name)))
        };
        match self {
            Self::Ucsd => numbered("Train") || numbered("Test"),
            Self::Avenue => {
                there("training_videos") || there("testing_videos") || there("testing_label_mask")
            }
            Self::ShanghaiTech => there("training/videos") || frame_masks(root).is_some(),
            Self::Converted => there("training/frames") || there("testing/frames"),
            Self::Own => {
                let holds = |path: &Path| {
                    Folder::read(path, ANY_LAYOUT)
                        .is_ok_and(|f| !f.frames.is_empty() || !f.videos.is_empty())
                };
                let within = |path: &Path| {
                    let folder = Folder::read(path, ANY_LAYOUT);
                    folder.is_ok_and(|folder| folder.folders.iter().any(|f| holds(f)))
                };
                let places = OWN_HALVES.iter().map(|name| root.join(name));
                let mut places = places.chain([root.to_owned()]);
                places.any(|place| holds(&place) || within(&place))
            }
        }
    }

    /// The layout of `path`, or of the one folder in it that has a layout: archives unpack into a
    /// folder of their own.
    pub(crate) fn detect(path: &Path) -> Result<Placed, DatasetError> {
        let folder = Folder::read(path, ANY_LAYOUT)?;
        let placed = |root: &Path, layouts: &[Self]| {
            let layout = layouts.iter().copied().find(|layout| layout.fits(root))?;
            Some(Placed { root: root.to_owned(), layout })
        };
        let [published @ .., _] = &Self::ALL;
        if let Some(found) = placed(path, published) {
            return Ok(found);
        }
        let mut below: Vec<Placed> =
            folder.folders.iter().filter_map(|f| placed(f, published)).collect();
        match below.len() {
            1 => Ok(below.remove(0)),
            0 => placed(path, &[Self::Own]).ok_or_else(|| DatasetError::UnknownLayout {
                path: path.to_owned(),
                expected: ANY_LAYOUT,
            }),
            found => {
                let names: Vec<String> = below.iter().map(|placed| name_of(&placed.root)).collect();
                let (path, names) = (path.to_owned(), names.join(", "));
                Err(DatasetError::SeveralDatasets { path, found, names })
            }
        }
    }

    /// `path`, or the one folder in it, that has this layout.
    pub(crate) fn place(self, path: &Path) -> Result<Placed, DatasetError> {
        let folder = Folder::read(path, ANY_LAYOUT)?;
        let below: Vec<&PathBuf> =
            folder.folders.iter().filter(|f| self != Self::Own && self.fits(f)).collect();
        let root = match below.as_slice() {
            _ if self.fits(path) => path,
            [only] => only,
            _ => {
                let (path, expected) = (path.to_owned(), self.expected(Half::Training));
                return Err(DatasetError::OtherLayout { path, layout: self, expected });
            }
        };
        Ok(Placed { root: root.to_owned(), layout: self })
    }
}

const OWN_HALVES: [&str; 4] = ["training", "testing", "train", "test"];

/// A layout and the folder that has it.
pub(crate) struct Placed {
    pub(crate) root: PathBuf,
    pub(crate) layout: Layout,
}

/// ShanghaiTech's folder of labels.
pub(crate) fn frame_masks(root: &Path) -> Option<PathBuf> {
    let places = ["testing/test_frame_mask", "test_frame_mask"];
    places.iter().map(|place| root.join(place)).find(|place| place.is_dir())
}

/// Avenue's folder of masks, which its authors ship by itself.
pub(crate) fn label_masks(root: &Path) -> Option<PathBuf> {
    let places = ["testing_label_mask", "ground_truth_demo/testing_label_mask"];
    places.iter().map(|place| root.join(place)).find(|place| place.is_dir())
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Layout {
    type Err = DatasetError;
    fn from_str(text: &str) -> Result<Self, DatasetError> {
        Self::ALL.into_iter().find(|layout| layout.name() == text).ok_or_else(|| {
            let accepted = Self::ALL.map(Self::name).join(", ");
            DatasetError::LayoutName { found: text.to_owned(), accepted }
        })
    }
}

impl Half {
    /// Both halves.
    pub const ALL: [Self; 2] = [Self::Training, Self::Testing];

    /// The name that people write.
    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Testing => "testing",
        }
    }
}
