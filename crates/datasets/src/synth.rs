//! Drawn scenes written to disk as a labelled data set.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use npyz::WriterBuilder;
use protoguard_core::Frame;
use protoguard_frames::scenes::{AnomalySpan, Scene, SceneError, SynthConfig};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Quality of the JPEG files: high enough that compression adds less than the camera's noise.
const QUALITY: u8 = 95;

/// Where a drawn data set says what was drawn.
const DESCRIPTION: &str = "synth.json";

/// A data set that was not written.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// A field of the configuration is too small.
    #[error(transparent)]
    Config(#[from] SceneError),
    /// Something is there already.
    #[error("{path:?} already exists and is not an empty folder; name a new folder")]
    Exists {
        /// The folder that was asked for.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot write {path:?}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenDataset {
    /// Frames of all training videos.
    pub training_frames: usize,
    /// Frames of all test videos.
    pub testing_frames: usize,
    /// Abnormal frames among them.
    pub anomalous_frames: usize,
}

/// Frames a second of drawn scenes: people cross them as they cross UCSD's.
const FRAMES_PER_SECOND: f64 = 10.0;

/// The contents of `synth.json`.
#[derive(Serialize)]
struct Description<'a> {
    config: &'a SynthConfig,
    frames_per_second: f64,
    /// One a test video, in order.
    testing: Vec<Labelled>,
}

#[derive(Serialize)]
struct Labelled {
    video: String,
    #[serde(flatten)]
    anomaly: Option<AnomalySpan>,
}

/// Writes a data set to `root`: `training/frames/NN/NNN.jpg`, `testing/frames/NN/NNN.jpg`,
/// `frame_labels.npy` (uint8, 1 is abnormal, test videos in order) and `synth.json`, which says
/// what was drawn and which anomaly is where.
///
/// Everything is written to a folder beside `root` and renamed, so that `root` is whole or absent.
///
/// # Errors
/// When the configuration is too small, `root` exists and is not an empty folder, or the disk
/// refuses.
pub fn write_dataset(config: &SynthConfig, root: &Path) -> Result<WrittenDataset, SynthError> {
    config.check()?;
    refuse_existing(root)?;
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| SynthError::Io { path, source }
    };
    let parent = match root.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(at(parent))?;
    let unfinished =
        tempfile::Builder::new().prefix(".synth-").tempdir_in(parent).map_err(at(parent))?;
    // A folder within, because the temporary one is closed to other users.
    let folder = unfinished.path().join("dataset");
    let written = write_all(config, &folder)?;
    if root.exists() {
        fs::remove_dir(root).map_err(at(root))?;
    }
    fs::rename(&folder, root).map_err(at(root))?;
    Ok(written)
}

fn refuse_existing(root: &Path) -> Result<(), SynthError> {
    let free = match fs::read_dir(root) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if free { Ok(()) } else { Err(SynthError::Exists { path: root.to_owned() }) }
}

fn write_all(config: &SynthConfig, folder: &Path) -> Result<WrittenDataset, SynthError> {
    let training: Vec<Scene> =
        (0..config.training_videos).map(|index| Scene::training(config, index)).collect();
    let testing: Vec<Scene> =
        (0..config.testing_videos).map(|index| Scene::testing(config, index)).collect();
    write_half(&training, &folder.join("training/frames"))?;
    write_half(&testing, &folder.join("testing/frames"))?;
    let labels: Vec<u8> = testing
        .iter()
        .flat_map(|scene| (0..scene.frames()).map(|frame| u8::from(scene.label(frame))))
        .collect();
    write_file(&folder.join("frame_labels.npy"), |file| write_labels(file, &labels))?;
    let labelled = |(index, scene): (usize, &Scene)| Labelled {
        video: number(index, config.testing_videos),
        anomaly: scene.anomaly(),
    };
    let description = Description {
        config,
        frames_per_second: FRAMES_PER_SECOND,
        testing: testing.iter().enumerate().map(labelled).collect(),
    };
    write_file(&folder.join(DESCRIPTION), |file| {
        serde_json::to_writer_pretty(&mut *file, &description)?;
        file.write_all(b"\n")
    })?;
    Ok(WrittenDataset {
        training_frames: config.training_videos * config.frames_per_video,
        testing_frames: labels.len(),
        anomalous_frames: labels.iter().map(|&label| usize::from(label)).sum(),
    })
}

/// Frames a second of the drawn data set at `root`; none of one that says nothing of it.
pub(crate) fn drawn_rate(root: &Path) -> Option<f64> {
    #[derive(Deserialize)]
    struct Rate {
        frames_per_second: f64,
    }
    let description = fs::read(root.join(DESCRIPTION)).ok()?;
    serde_json::from_slice::<Rate>(&description).ok().map(|it| it.frames_per_second)
}

/// The name of a video, from 01 on, as wide as the last one's.
fn number(index: usize, count: usize) -> String {
    let digits = count.to_string().len().max(2);
    format!("{:0digits$}", index + 1)
}

fn write_half(scenes: &[Scene], folder: &Path) -> Result<(), SynthError> {
    fs::create_dir_all(folder)
        .map_err(|source| SynthError::Io { path: folder.to_owned(), source })?;
    scenes.par_iter().enumerate().try_for_each(|(index, scene)| {
        let video = folder.join(number(index, scenes.len()));
        fs::create_dir(&video).map_err(|source| SynthError::Io { path: video.clone(), source })?;
        let digits = scene.frames().to_string().len().max(3);
        (0..scene.frames()).into_par_iter().try_for_each(|frame| {
            let path = video.join(format!("{frame:0digits$}.jpg"));
            write_file(&path, |file| write_jpeg(file, &scene.frame(frame)))
        })
    })
}

fn write_jpeg(file: &mut impl Write, frame: &Frame) -> io::Result<()> {
    let (width, height) = (frame.width() as u32, frame.height() as u32);
    JpegEncoder::new_with_quality(file, QUALITY)
        .encode(frame.pixels(), width, height, ExtendedColorType::Rgb8)
        .map_err(io::Error::other)
}

fn write_labels(file: &mut impl Write, labels: &[u8]) -> io::Result<()> {
    let mut npy = npyz::WriteOptions::new()
        .default_dtype()
        .shape(&[labels.len() as u64])
        .writer(file)
        .begin_nd()?;
    npy.extend(labels.iter().copied())?;
    npy.finish()
}

fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), SynthError> {
    let written = File::create(path).and_then(|file| {
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        file.flush()
    });
    written.map_err(|source| SynthError::Io { path: path.to_owned(), source })
}
