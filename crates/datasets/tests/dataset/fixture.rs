//! Small data sets, made for a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use npyz::{AutoSerialize, WriterBuilder};
use protoguard_core::ClipShape;
use protoguard_frames::files::Video;
use tempfile::TempDir;

pub(crate) fn shape() -> ClipShape {
    ClipShape::new(4, 16).unwrap()
}

pub(crate) fn put(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A gray picture 16 pixels high, of the format that the name ends in.
pub(crate) fn put_picture(path: &Path, width: u32, value: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::GrayImage::from_pixel(width, 16, image::Luma([value])).save(path).unwrap();
}

pub(crate) fn put_labels<T: AutoSerialize>(path: &Path, shape: &[u64], labels: Vec<T>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = fs::File::create(path).unwrap();
    let mut npy =
        npyz::WriteOptions::new().default_dtype().shape(shape).writer(file).begin_nd().unwrap();
    npy.extend(labels).unwrap();
    npy.finish().unwrap();
}

/// Test videos `01_0002` of 6 frames and `01_0010` of 5, with junk beside the frames.
pub(crate) fn small_set() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let testing = root.path().join("testing/frames");
    for (video, frames) in [("01_0010", 5), ("01_0002", 6)] {
        for frame in 0..frames {
            let name = format!("{}.png", frame * 5);
            put_picture(&testing.join(video).join(name), 20, frame as u8 * 9);
        }
        for junk in [".DS_Store", "._0.png", "Thumbs.db", "notes.txt"] {
            put(&testing.join(video).join(junk), "junk");
        }
    }
    put(&testing.join(".DS_Store"), "junk");
    root
}

/// Draws a video file of `frames` frames of 64 × 48 pixels, where `ffmpeg` is installed.
#[must_use]
pub(crate) fn draw_video(path: &Path, frames: usize) -> bool {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let drawn = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=5"])
        .args(["-frames:v", &frames.to_string(), "-c:v", "mpeg4", "-q:v", "2"])
        .arg(format!("file:{}", path.display()))
        .status();
    match drawn {
        Ok(status) => {
            assert!(status.success());
            true
        }
        Err(_) => {
            println!("skipped: the program ffmpeg is not installed");
            false
        }
    }
}

pub(crate) fn names(videos: &[Video]) -> Vec<&str> {
    videos.iter().map(|video| video.name.as_str()).collect()
}

/// A file or folder of the shared data, or nothing, said aloud.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if !path.exists() {
        println!("skipped: {path:?} is not here");
        return None;
    }
    Some(path)
}
