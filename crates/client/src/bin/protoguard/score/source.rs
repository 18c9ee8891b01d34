//! Where videos come from: folders of frames, or video files through `ffmpeg`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use protoguard_core::{ClipShape, Frame, FrameInterval};
use protoguard_frames::files::{FilesError, OneSize, Video, VideoSource, videos_under};
use protoguard_frames::pace::{Clock, Pace, PaceError};
use protoguard_frames::video::VideoReader;
use protoguard_frames::{DecodeLimits, Size, decode};
use protoguard_proto::Bytes;

/// One video, not yet opened, and which of its frames are taken.
#[derive(Clone, Debug)]
pub(crate) struct Source(Video);

/// One frame as its source has it.
#[derive(Clone, Debug)]
pub(crate) struct SourceFrame {
    pub(crate) frame: Frame,
    /// The file's bytes, where the frame is a file of its own.
    pub(crate) encoded: Option<Bytes>,
}

/// What a folder should hold.
const EXPECTED: &str = "a folder of frames (.jpg, .png, .bmp), of such folders, or of videos";

/// The videos under `paths`, in the order given.
pub(crate) fn discover(paths: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in paths {
        if path.is_file() {
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            sources.push(Source(Video {
                name: name.into_owned(),
                scene: None,
                source: VideoSource::File(path.clone()),
                pace: Pace::default(),
            }));
        } else {
            sources.extend(videos_under(path, EXPECTED)?.into_iter().map(Source));
        }
    }
    Ok(sources)
}

impl Source {
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// The same video at the interval of a model.
    pub(crate) fn paced(self, clock: Clock) -> Result<Self, PaceError> {
        self.0.paced(clock).map(Self)
    }

    /// The time between two frames that are taken; none where nothing says it.
    pub(crate) fn interval(&self) -> Option<FrameInterval> {
        self.0.pace.interval
    }

    /// How many frames are taken, where that is known without decoding.
    pub(crate) fn known_frames(&self) -> Option<usize> {
        self.0.known_frames()
    }

    /// How many frames it has; a video file is decoded to find out.
    pub(crate) fn count_frames(&self) -> anyhow::Result<usize> {
        match &self.0.source {
            VideoSource::Frames(frames) => Ok(frames.len()),
            VideoSource::File(path) => {
                VideoReader::open(path)?.try_fold(0, |frames, frame| Ok(frame.map(|_| frames + 1)?))
            }
        }
    }

    /// Refuses a folder that is too short for one clip before anything is sent.
    pub(crate) fn check_length(&self, shape: ClipShape) -> Result<(), FilesError> {
        match self.known_frames() {
            Some(found) if found < shape.frames() => Err(self.too_short(found, shape)),
            _ => Ok(()),
        }
    }

    pub(crate) fn too_short(&self, found: usize, shape: ClipShape) -> FilesError {
        let path = self.0.path();
        FilesError::TooShort { path, found, needed: shape.frames() }
    }

    /// Hands over the frames that are taken, with their indices among all frames, in temporal order
    /// and until `take` says false. Gives the number of all frames that it came by.
    pub(crate) fn for_each_frame(
        &self,
        mut take: impl FnMut(usize, SourceFrame) -> anyhow::Result<bool>,
    ) -> anyhow::Result<usize> {
        let thinning = &self.0.pace.thinning;
        let mut passed = 0;
        match &self.0.source {
            VideoSource::Frames(frames) => {
                let mut one_size = OneSize::default();
                for (index, path) in frames.iter().enumerate() {
                    passed += 1;
                    if !thinning.takes(index) {
                        continue;
                    }
                    let frame = read_frame(path)?;
                    let (height, width) = (frame.frame.height(), frame.frame.width());
                    one_size.check(path, Size { height, width })?;
                    if !take(index, frame)? {
                        break;
                    }
                }
            }
            VideoSource::File(path) => {
                for (index, frame) in VideoReader::open(path)?.enumerate() {
                    passed += 1;
                    let frame = frame?;
                    let taken = thinning.takes(index);
                    if taken && !take(index, SourceFrame { frame, encoded: None })? {
                        break;
                    }
                }
            }
        }
        Ok(passed)
    }
}

fn read_frame(path: &Path) -> anyhow::Result<SourceFrame> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {path:?}"))?;
    let frame = decode(&bytes, &DecodeLimits::files())
        .map_err(|source| FilesError::Frame { path: path.to_owned(), source })?;
    Ok(SourceFrame { frame, encoded: Some(bytes.into()) })
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;

    fn folder_of(sizes: &[u32]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (index, &size) in sizes.iter().enumerate() {
            let path = folder.path().join(format!("{index}.png"));
            RgbImage::new(size, 16).save(path).unwrap();
        }
        folder
    }

    fn only(folder: &tempfile::TempDir) -> Source {
        discover(&[folder.path().to_owned()]).unwrap().remove(0)
    }

    #[test]
    fn frames_come_with_their_own_bytes() {
        let folder = folder_of(&[16, 16, 16]);
        let source = only(&folder);
        assert_eq!(source.count_frames().unwrap(), 3);
        let mut seen = 0;
        source
            .for_each_frame(|_, frame| {
                let bytes = fs::read(folder.path().join(format!("{seen}.png"))).unwrap();
                assert_eq!(frame.encoded.as_deref(), Some(bytes.as_slice()));
                seen += 1;
                Ok(seen < 2)
            })
            .unwrap();
        assert_eq!(seen, 2);
    }

    #[test]
    fn mixed_sizes_and_short_folders_are_refused_in_one_line() {
        let source = only(&folder_of(&[16]));
        let error = source.check_length(ClipShape::new(4, 16).unwrap()).unwrap_err().to_string();
        assert!(error.contains("1 frames") && error.contains('5'), "{error}");

        let folder = folder_of(&[16, 24]);
        let error = only(&folder).for_each_frame(|_, _| Ok(true)).unwrap_err().to_string();
        assert!(error.contains("16x24") && error.contains("16x16"), "{error}");
    }

    #[test]
    fn a_missing_path_is_named() {
        let error = discover(&[PathBuf::from("no/such/folder")]).unwrap_err().to_string();
        assert!(error.contains("no/such/folder"), "{error}");
    }
}
