//! Frames of a video file through the `ffmpeg` program, as a stream.
//!
//! Pictures come over a pipe as PPM, because its header states the size of each: no second
//! program has to tell it, and a rotation that `ffmpeg` applies is already in it. A program
//! instead of a library keeps codecs, their licences and their crashes out of this process.

mod error;
mod probe;

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use protoguard_core::{CHANNELS, Frame};

use crate::DecodeLimits;

pub use error::VideoError;
pub use probe::{VideoInfo, probe};

/// How a video file is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoOptions {
    /// The `ffmpeg` program, looked for on the search path unless it is a path itself.
    pub program: OsString,
    /// What one frame may cost; `max_bytes` and `codecs` do not apply.
    pub limits: DecodeLimits,
}

impl Default for VideoOptions {
    fn default() -> Self {
        Self { program: "ffmpeg".into(), limits: DecodeLimits::default() }
    }
}

/// The frames of one video file in temporal order, at their own size. One frame is in memory at
/// a time; the program is killed when this value is dropped.
///
/// Every frame of a damaged file that can be decoded is given before [`VideoError::Damaged`],
/// which then is the last item.
#[derive(Debug)]
pub struct VideoReader {
    path: PathBuf,
    limits: DecodeLimits,
    child: Child,
    pictures: BufReader<ChildStdout>,
    /// Reads what the program complains of, so that a full pipe never blocks it.
    complaints: Option<JoinHandle<Option<String>>>,
    /// Read on opening, to learn at once whether the file is a video.
    first: Option<Frame>,
    frames: usize,
    ended: bool,
}

impl VideoReader {
    /// Opens a video file with `ffmpeg` from the search path and the default limits.
    ///
    /// # Errors
    /// As [`VideoReader::open_with`].
    pub fn open(path: &Path) -> Result<Self, VideoError> {
        Self::open_with(path, &VideoOptions::default())
    }

    /// Opens a video file and decodes its first frame.
    ///
    /// # Errors
    /// When there is no such file, `ffmpeg` is missing, or it finds no picture in the file.
    pub fn open_with(path: &Path, options: &VideoOptions) -> Result<Self, VideoError> {
        let io = |source| VideoError::Io { path: path.to_owned(), source };
        check_file(path)?;
        let mut child = spawn(path, options)?;
        let piped = |what| io(io::Error::other(format!("no {what} pipe")));
        let pictures = child.stdout.take().ok_or_else(|| piped("output"))?;
        let stderr = child.stderr.take().ok_or_else(|| piped("error"))?;
        let mut reader = Self {
            path: path.to_owned(),
            limits: options.limits,
            child,
            pictures: BufReader::with_capacity(1 << 16, pictures),
            complaints: Some(std::thread::spawn(move || last_line(stderr))),
            first: None,
            frames: 0,
            ended: false,
        };
        reader.first = reader.read_frame()?;
        match reader.first {
            Some(_) => Ok(reader),
            None => {
                let reason = reader.complaint()?.unwrap_or_else(|| "it has no picture".to_owned());
                Err(VideoError::NotAVideo { path: path.to_owned(), reason })
            }
        }
    }

    /// The next picture on the pipe, or nothing at its end.
    fn read_frame(&mut self) -> Result<Option<Frame>, VideoError> {
        let io = |source| VideoError::Io { path: self.path.clone(), source };
        let Some(size) = read_header(&mut self.pictures).map_err(io)? else {
            return Ok(None);
        };
        let too_large = |source| VideoError::TooLarge { path: self.path.clone(), source };
        self.limits.check_size(size.height, size.width).map_err(too_large)?;
        let mut pixels = vec![0; size.height * size.width * CHANNELS];
        if let Err(error) = self.pictures.read_exact(&mut pixels) {
            // The program ended within a picture; its own words say more than the pipe's.
            return if error.kind() == io::ErrorKind::UnexpectedEof {
                Ok(None)
            } else {
                Err(io(error))
            };
        }
        let frame = Frame::new(size.height, size.width, pixels);
        frame.map(Some).map_err(|error| io(io::Error::other(error)))
    }

    /// Waits for the program to end; its complaint, if it had one.
    fn complaint(&mut self) -> Result<Option<String>, VideoError> {
        let status = self
            .child
            .wait()
            .map_err(|source| VideoError::Io { path: self.path.clone(), source })?;
        let line = self.complaints.take().and_then(|thread| thread.join().ok()).flatten();
        Ok(line.or_else(|| (!status.success()).then(|| format!("ffmpeg ended with {status}"))))
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, VideoError> {
        let frame = match self.first.take() {
            Some(frame) => Some(frame),
            None => self.read_frame()?,
        };
        if frame.is_some() {
            self.frames += 1;
            return Ok(frame);
        }
        match self.complaint()? {
            None => Ok(None),
            Some(reason) => {
                let (path, frames) = (self.path.clone(), self.frames);
                Err(VideoError::Damaged { path, frames, reason })
            }
        }
    }
}

impl Iterator for VideoReader {
    type Item = Result<Frame, VideoError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.next_frame().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

impl Drop for VideoReader {
    fn drop(&mut self) {
        // Both fail only for a program that has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(thread) = self.complaints.take() {
            let _ = thread.join();
        }
    }
}

fn check_file(path: &Path) -> Result<(), VideoError> {
    let path = path.to_owned();
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => Err(VideoError::Folder { path }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(VideoError::NoFile { path }),
        Err(source) => Err(VideoError::Io { path, source }),
    }
}

/// The prefix keeps a name with a colon from being read as the address of a stream.
fn input_of(path: &Path) -> OsString {
    let mut input = OsString::from("file:");
    input.push(path);
    input
}

fn spawn(path: &Path, options: &VideoOptions) -> Result<Child, VideoError> {
    // One picture out for each one in, whatever the file's clock says: renumbered at a constant
    // rate, none is dropped or repeated, with every version of the program.
    let one_to_one = ["-vf", "settb=1/25,setpts=N", "-r", "25"];
    let child = Command::new(&options.program)
        .args(["-nostdin", "-hide_banner", "-v", "error", "-i"])
        .arg(input_of(path))
        .args(["-map", "0:v:0"])
        .args(one_to_one)
        .args(["-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "pipe:1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    child.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => {
            VideoError::NoProgram { program: options.program.clone(), path: path.to_owned() }
        }
        _ => VideoError::Io { path: path.to_owned(), source },
    })
}

/// Reads to the end and keeps the last line that says something, however much there is.
fn last_line(stderr: ChildStderr) -> Option<String> {
    const LONGEST: u64 = 4096;
    let mut stderr = BufReader::new(stderr);
    let mut last = None;
    loop {
        let mut line = Vec::new();
        let read = stderr.by_ref().take(LONGEST).read_until(b'\n', &mut line);
        if !matches!(read, Ok(1..)) {
            return last;
        }
        let line = String::from_utf8_lossy(&line).trim().to_owned();
        if !line.is_empty() {
            last = Some(line);
        }
    }
}

struct Size {
    height: usize,
    width: usize,
}

/// The header of a binary PPM as `ffmpeg` writes it: `P6\n<width> <height>\n255\n`. Nothing at the
/// end of the stream.
fn read_header(reader: &mut impl BufRead) -> io::Result<Option<Size>> {
    let mut header = Vec::new();
    for _ in 0..3 {
        if reader.by_ref().take(64).read_until(b'\n', &mut header)? == 0 {
            return Ok(None);
        }
    }
    let text = String::from_utf8_lossy(&header);
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    if let ["P6", width, height, "255"] = fields.as_slice()
        && let (Ok(height), Ok(width)) = (height.parse(), width.parse())
    {
        return Ok(Some(Size { height, width }));
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the pipe gave {:?}; a PPM header is expected", text.trim()),
    ))
}
