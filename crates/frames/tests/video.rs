//! Video files through the real `ffmpeg` program.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use protoguard_frames::DecodeLimits;
use protoguard_frames::video::{VideoError, VideoOptions, VideoReader};
use tempfile::TempDir;

/// A folder with a clip of 25 frames of 64 × 48 pixels, where `ffmpeg` is installed.
fn drawn_clip() -> Option<(TempDir, PathBuf)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip with: a colon.mkv");
    let drawn = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi"])
        .args(["-i", "testsrc=size=64x48:rate=5:duration=5", "-c:v", "ffv1"])
        .arg(format!("file:{}", path.display()))
        .status();
    match drawn {
        Ok(status) => assert!(status.success()),
        Err(_) => {
            println!("skipped: the program ffmpeg is not installed");
            return None;
        }
    }
    Some((folder, path))
}

#[test]
fn every_frame_comes_once_at_its_own_size() {
    let Some((_folder, path)) = drawn_clip() else { return };
    let frames: Vec<_> = VideoReader::open(&path).unwrap().map(Result::unwrap).collect();
    assert_eq!(frames.len(), 25);
    assert!(frames.iter().all(|frame| (frame.height(), frame.width()) == (48, 64)));
    assert_ne!(frames[0], frames[24]);
}

#[test]
fn a_truncated_video_gives_its_frames_and_then_an_error() {
    let Some((_folder, path)) = drawn_clip() else { return };
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let items: Vec<_> = VideoReader::open(&path).unwrap().collect();
    let (last, frames) = items.split_last().unwrap();
    assert!(frames.iter().all(Result::is_ok) && frames.len() > 2);
    let error = last.as_ref().unwrap_err();
    let VideoError::Damaged { frames: given, .. } = error else { panic!("{error}") };
    assert_eq!(*given, frames.len());
}

#[test]
fn a_reader_dropped_early_takes_its_program_with_it() {
    let Some((_folder, path)) = drawn_clip() else { return };
    let mut reader = VideoReader::open(&path).unwrap();
    assert!(reader.next().unwrap().is_ok());
    // Waits for the program and the thread that listens to it: it would hang if either went on.
    drop(reader);
}

#[test]
fn files_that_are_no_video_are_named() {
    let Some((folder, path)) = drawn_clip() else { return };
    let text = folder.path().join("text.mp4");
    fs::write(&text, "text").unwrap();
    let message = VideoReader::open(&text).unwrap_err().to_string();
    assert!(message.contains("text.mp4\" cannot be decoded as a video: "), "{message}");
    assert_eq!(message.lines().count(), 1);
    let narrow = DecodeLimits { max_side: 60, ..DecodeLimits::default() };
    let options = VideoOptions { limits: narrow, ..VideoOptions::default() };
    let error = VideoReader::open_with(&path, &options).unwrap_err();
    assert!(matches!(error, VideoError::TooLarge { .. }), "{error}");
    let error = VideoReader::open(folder.path()).unwrap_err();
    assert!(matches!(error, VideoError::Folder { .. }), "{error}");
    let error = VideoReader::open(&folder.path().join("none.mp4")).unwrap_err();
    assert!(matches!(error, VideoError::NoFile { .. }), "{error}");
}

#[test]
fn a_missing_program_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let options = VideoOptions { program: "no-such-ffmpeg".into(), ..VideoOptions::default() };
    let message = VideoReader::open_with(file.path(), &options).unwrap_err().to_string();
    assert!(message.starts_with("program \"no-such-ffmpeg\" is not installed"), "{message}");
}

#[test]
fn the_sample_camera_has_all_its_frames() {
    let sample = "../../../shared/data/sample/intel_one-by-one-person-detection.mp4";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(sample);
    if !path.exists() {
        println!("skipped: {path:?} is not here");
        return;
    }
    let reader = match VideoReader::open(&path) {
        Err(error @ VideoError::NoProgram { .. }) => {
            println!("skipped: {error}");
            return;
        }
        reader => reader.unwrap(),
    };
    let sizes = reader.map(Result::unwrap).map(|frame| (frame.height(), frame.width()));
    assert_eq!(sizes.filter(|&size| size == (432, 768)).count(), 1394);
}
