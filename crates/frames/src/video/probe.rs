//! What a video file says of itself, through `ffprobe`.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::{VideoError, check_file, input_of};
use crate::pace::FrameTimes;

/// What a video file says of itself, without a frame being decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoInfo {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Packets of the picture stream: its frames, unless a codec packs several into one.
    pub frames: usize,
    /// Mean frames a second, where the file has a clock.
    pub fps: Option<f64>,
    /// The codec, in the program's words.
    pub codec: String,
    /// When each frame is shown; empty where the file does not say it of every frame.
    pub times: FrameTimes,
}

#[derive(Deserialize)]
struct Probed {
    #[serde(default)]
    streams: Vec<Stream>,
    #[serde(default)]
    packets: Vec<Packet>,
    #[serde(default)]
    format: Container,
}

#[derive(Default, Deserialize)]
struct Container {
    #[serde(default)]
    format_name: String,
}

#[derive(Deserialize)]
struct Packet {
    pts_time: Option<String>,
    dts_time: Option<String>,
    #[serde(default)]
    flags: String,
}

#[derive(Deserialize)]
struct Stream {
    codec_name: Option<String>,
    width: usize,
    height: usize,
    avg_frame_rate: Option<String>,
}

/// Asks the `ffprobe` program, which comes with `ffmpeg`.
///
/// # Errors
/// When there is no such file, the program is missing, or it finds no picture in the file.
pub fn probe(path: &Path) -> Result<VideoInfo, VideoError> {
    let program = OsString::from("ffprobe");
    check_file(path)?;
    let output = Command::new(&program)
        .args(["-v", "error", "-select_streams", "v:0", "-show_entries"])
        .arg("stream=codec_name,width,height,avg_frame_rate:packet=pts_time,dts_time,flags:format=format_name")
        .args(["-of", "json"])
        .arg(input_of(path))
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => VideoError::NoProgram { program, path: path.to_owned() },
        _ => VideoError::Io { path: path.to_owned(), source },
    })?;
    let no_video = |reason: String| VideoError::NotAVideo { path: path.to_owned(), reason };
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let line = complaint.lines().map(str::trim).rfind(|line| !line.is_empty());
        return Err(no_video(line.unwrap_or("ffprobe gives no reason").to_owned()));
    }
    let probed: Probed =
        serde_json::from_slice(&output.stdout).map_err(|error| no_video(error.to_string()))?;
    // A bare row of JPEG pictures has no rate, for which the program makes up 25 a second.
    let has_rate = probed.format.format_name != "mjpeg";
    let times = if has_rate { times_of(&probed.packets) } else { FrameTimes::default() };
    let stream = probed.streams.into_iter().next();
    let stream = stream.ok_or_else(|| no_video("it has no picture".to_owned()))?;
    Ok(VideoInfo {
        height: stream.height,
        width: stream.width,
        frames: probed.packets.len(),
        fps: stream.avg_frame_rate.as_deref().and_then(ratio),
        codec: stream.codec_name.unwrap_or_default(),
        times,
    })
}

/// When frames are shown, or decoded where the container knows no more, as AVI does: of all frames
/// or of none. Frames before the beginning that an edit list sets are not shown.
fn times_of(packets: &[Packet]) -> FrameTimes {
    let shown = || packets.iter().filter(|packet| !packet.flags.contains('D'));
    let all = |of: fn(&Packet) -> &Option<String>| -> Option<Vec<f64>> {
        shown().map(|packet| of(packet).as_deref()?.parse().ok()).collect()
    };
    let times = all(|packet| &packet.pts_time).or_else(|| all(|packet| &packet.dts_time));
    FrameTimes::new(times.unwrap_or_default())
}

/// `30000/1001`; nothing for `0/0`.
fn ratio(text: &str) -> Option<f64> {
    let (over, under) = text.split_once('/')?;
    let (over, under): (f64, f64) = (over.parse().ok()?, under.parse().ok()?);
    (over > 0.0 && under > 0.0).then(|| over / under)
}
