//! One video: its size, its frames, and what is odd about it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use protoguard_frames::files::{Video, VideoSource, name_of};
use protoguard_frames::pace::{Clock, Rhythm, apart};
use protoguard_frames::video::{VideoReader, probe};
use protoguard_frames::{ImageFormat, Size, decode, size_of};

use super::VideoSurvey;
use super::oddity::Oddity;
use crate::numbers::number_of;
use crate::tiff::dataset_limits;

/// One video and what is odd about it.
pub(super) struct Look {
    pub(super) survey: VideoSurvey,
    pub(super) oddities: Vec<Oddity>,
}

/// The frames of a clip at the method's t = 4.
const A_CLIP: usize = 5;

pub(super) fn look(video: &Video, decode: bool, clock: Clock) -> Look {
    let survey = VideoSurvey {
        name: video.name.clone(),
        scene: video.scene.clone(),
        format: String::new(),
        frames: video.known_frames().unwrap_or_default(),
        height: None,
        width: None,
        fps: None,
        frame_interval: clock.untimed,
        abnormal: None,
    };
    let mut look = Look { survey, oddities: Vec::new() };
    match &video.source {
        VideoSource::Frames(frames) => look.at_frames(frames, decode),
        VideoSource::File(path) => look.at_file(path, decode),
    }
    let frames = look.survey.frames;
    if (1..A_CLIP).contains(&frames) {
        let message = format!(
            "video {:?} has {frames} frames; {A_CLIP} are needed for a clip of 4 past frames",
            video.path()
        );
        look.oddities.push(Oddity::note(message));
    }
    look
}

impl Look {
    fn at_frames(&mut self, frames: &[PathBuf], decode: bool) {
        let mut formats = BTreeSet::new();
        let (mut unreadable, mut odd_sizes) = (Vec::new(), Vec::new());
        let mut first = None;
        for path in frames {
            match read_size(path, decode) {
                Err(reason) => unreadable.push(format!("{path:?}: {reason}")),
                Ok(Picture { format, size }) => {
                    formats.insert(format.name());
                    if size != *first.get_or_insert(size) {
                        odd_sizes.push(format!("{path:?} is {}x{}", size.height, size.width));
                    }
                }
            }
        }
        self.survey.format = formats.into_iter().collect::<Vec<_>>().join(" and ");
        self.survey.height = first.map(|size: Size| size.height);
        self.survey.width = first.map(|size| size.width);
        self.problem(&unreadable, "cannot be read as frames");
        self.problem(&odd_sizes, "have another size than the video's first frame");
        self.oddities.extend(numbering(frames));
    }

    /// One line for all files with the same fault, naming the first.
    fn problem(&mut self, faults: &[String], what: &str) {
        let Some(first) = faults.first() else { return };
        let (video, count) = (&self.survey.name, faults.len());
        let message = format!("video {video}: {count} files {what}; the first is {first}");
        self.oddities.push(Oddity::problem(message));
    }

    fn at_file(&mut self, path: &Path, decode: bool) {
        match probe(path) {
            Err(error) => self.oddities.push(Oddity::problem(error.to_string())),
            Ok(info) => {
                self.survey.format = info.codec;
                self.survey.frames = info.frames;
                self.survey.height = Some(info.height);
                self.survey.width = Some(info.width);
                self.survey.fps = info.fps;
                match info.times.rhythm() {
                    // A container without time stamps leaves it to what is known of the data set.
                    None => {}
                    Some(Rhythm::Even(interval)) => self.survey.frame_interval = Some(interval),
                    Some(Rhythm::Uneven { slowest }) => {
                        self.survey.frame_interval = Some(slowest);
                        let message = format!(
                            "video {path:?} is of no even rate; training takes frames {}",
                            apart(slowest)
                        );
                        self.oddities.push(Oddity::note(message));
                    }
                }
                if decode {
                    self.decode_file(path);
                }
            }
        }
    }

    fn decode_file(&mut self, path: &Path) {
        let counted = VideoReader::open(path).and_then(|reader| {
            reader.into_iter().try_fold(0, |frames, frame| frame.map(|_| frames + 1))
        });
        match counted {
            Err(error) => self.oddities.push(Oddity::problem(error.to_string())),
            Ok(frames) => {
                if frames != self.survey.frames {
                    let message = format!(
                        "video {path:?} has {} packets and {frames} frames; frames count",
                        self.survey.frames
                    );
                    self.oddities.push(Oddity::note(message));
                }
                self.survey.frames = frames;
            }
        }
    }
}

struct Picture {
    format: ImageFormat,
    size: Size,
}

fn read_size(path: &Path, whole: bool) -> Result<Picture, String> {
    let limits = dataset_limits();
    if whole {
        let bytes = fs::read(path).map_err(|error| error.to_string())?;
        let frame = decode(&bytes, &limits).map_err(|error| error.to_string())?;
        let format = ImageFormat::sniff(&bytes).ok_or("no known format")?;
        let size = Size { height: frame.height(), width: frame.width() };
        return Ok(Picture { format, size });
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    let found = size_of(BufReader::new(file), &limits).map_err(|error| error.to_string())?;
    Ok(Picture { format: found.format, size: found.size })
}

/// Gaps and repetitions in the numbers that frames' names end in.
fn numbering(frames: &[PathBuf]) -> Option<Oddity> {
    let numbers: Vec<usize> = frames.iter().filter_map(|path| number_of(path)).collect();
    let (first, last) = (frames.first()?, frames.last()?);
    if numbers.len() < frames.len() {
        let message = format!("video folder {:?} has frames without a number", first.parent()?);
        return Some(Oddity::note(message));
    }
    let jump = numbers.windows(2).position(|pair| pair[1] != pair[0] + 1)?;
    let message = format!(
        "video folder {:?} has {} frames from {} to {}: the number after {} is {}",
        first.parent()?,
        frames.len(),
        name_of(first),
        name_of(last),
        name_of(&frames[jump]),
        name_of(&frames[jump + 1])
    );
    Some(Oddity::note(message))
}
