//! The frame cache: what a second run finds, what it makes anew, and its bounds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use protoguard_core::ClipShape;
use protoguard_datasets::{
    CacheError, DatasetError, DecodedVideo, FrameCache, LoadOptions, load, split_held_out,
    testing_videos,
};
use protoguard_frames::files::{Video, VideoSource};
use tempfile::TempDir;

use crate::fixture::{draw_video, put, put_picture, shape, small_set};

struct Fixture {
    data: TempDir,
    cache: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { data: small_set(), cache: tempfile::tempdir().unwrap() }
    }

    fn videos(&self) -> Vec<Video> {
        testing_videos(self.data.path()).unwrap()
    }

    fn load(&self, limit_bytes: u64) -> Result<Vec<DecodedVideo>, DatasetError> {
        self.load_at(shape(), limit_bytes)
    }

    fn load_at(
        &self,
        shape: ClipShape,
        limit_bytes: u64,
    ) -> Result<Vec<DecodedVideo>, DatasetError> {
        let cache = FrameCache::open(self.cache.path(), limit_bytes).unwrap();
        let options = LoadOptions { cache: Some(&cache), ..LoadOptions::in_memory(shape) };
        load(&self.videos(), &options, |_| ())
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(self.cache.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// Makes every frame of the source unreadable, of the same size and time as before.
    fn spoil_sources(&self) {
        for video in self.videos() {
            let VideoSource::Frames(frames) = &video.source else { continue };
            frames.iter().for_each(|path| spoil(path));
        }
    }
}

fn spoil(path: &Path) {
    fs::write(path, vec![0; fs::metadata(path).unwrap().len() as usize]).unwrap();
}

const ROOMY: u64 = 1 << 30;

fn frames(videos: &[DecodedVideo]) -> Vec<Vec<u8>> {
    let of_video = |video: &DecodedVideo| {
        (0..video.len()).flat_map(|i| video.frame(i).unwrap().unwrap().pixels().to_vec()).collect()
    };
    videos.iter().map(of_video).collect()
}

#[test]
fn cached_frames_are_those_in_memory() {
    let fixture = Fixture::new();
    let options = LoadOptions::in_memory(shape());
    let expected = load(&fixture.videos(), &options, |_| ()).unwrap();
    let (first, second) = (fixture.load(ROOMY).unwrap(), fixture.load(ROOMY).unwrap());
    assert_eq!(frames(&expected), frames(&first));
    assert_eq!(frames(&expected), frames(&second));
    assert_eq!(fixture.files().len(), 2);
    let clips =
        |video: &DecodedVideo| -> Vec<_> { video.clips(shape()).map(Result::unwrap).collect() };
    assert_eq!(clips(&second[0]), clips(&expected[0]));
    assert_eq!(second[0].clip_at(shape(), 1).unwrap().unwrap(), clips(&expected[0])[1]);
    let split = split_held_out(&fixture.load_at(shape(), ROOMY).unwrap(), shape(), 0.1);
    assert_eq!(split.training.len(), 2);
}

#[test]
fn the_second_run_does_not_touch_the_sources() {
    let fixture = Fixture::new();
    let cache = FrameCache::open(fixture.cache.path(), ROOMY).unwrap();
    let options = LoadOptions { cache: Some(&cache), ..LoadOptions::in_memory(shape()) };
    let videos = fixture.videos();
    load(&videos, &options, |_| ()).unwrap();
    let before: Vec<SystemTime> = videos.iter().map(accessed).collect();
    let counted = AtomicUsize::new(0);
    let progress = |done| {
        counted.fetch_max(done, Ordering::Relaxed);
    };
    load(&videos, &options, progress).unwrap();
    assert_eq!(counted.into_inner(), 11, "frames found are counted as frames done");
    assert_eq!(before, videos.iter().map(accessed).collect::<Vec<_>>());
    // A source that changed is decoded again, and its damage seen.
    fixture.spoil_sources();
    let error = fixture.load(ROOMY).unwrap_err().to_string();
    assert!(error.contains("no known format"), "{error}");
}

/// When the files of the first frame were last read; the folder's own time is of no account.
fn accessed(video: &Video) -> SystemTime {
    let VideoSource::Frames(frames) = &video.source else { panic!("{video:?}") };
    fs::metadata(&frames[0]).unwrap().accessed().unwrap()
}

#[test]
fn another_size_is_another_file() {
    let fixture = Fixture::new();
    fixture.load(ROOMY).unwrap();
    let larger = fixture.load_at(ClipShape::new(4, 24).unwrap(), ROOMY).unwrap();
    assert_eq!(larger[0].frame(0).unwrap().unwrap().height(), 24);
    assert_eq!(fixture.files().len(), 4);
}

#[test]
fn damaged_and_truncated_files_are_made_anew() {
    let fixture = Fixture::new();
    let expected = frames(&fixture.load(ROOMY).unwrap());
    let damage: [fn(&Path); 4] = [
        |path| {
            let mut bytes = fs::read(path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(path, bytes).unwrap();
        },
        |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 7]).unwrap();
        },
        |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[16] = 1;
            fs::write(path, bytes).unwrap();
        },
        |path| fs::write(path, "").unwrap(),
    ];
    for spoil in damage {
        let whole: Vec<Vec<u8>> = fixture.files().iter().map(|f| fs::read(f).unwrap()).collect();
        fixture.files().iter().for_each(|file| spoil(file));
        assert_eq!(frames(&fixture.load(ROOMY).unwrap()), expected);
        let remade: Vec<Vec<u8>> = fixture.files().iter().map(|f| fs::read(f).unwrap()).collect();
        assert_eq!(remade, whole);
    }
}

#[test]
fn a_failed_decode_leaves_nothing() {
    let fixture = Fixture::new();
    let video = fixture.data.path().join("testing/frames/01_0002");
    put(&video.join("20.png"), "text");
    assert!(fixture.load(ROOMY).is_err());
    // The other video may have been finished meanwhile, and is whole.
    assert!(fixture.files().iter().all(|file| file.extension().is_some_and(|e| e == "frames")));
    put_picture(&video.join("20.png"), 20, 36);
    fixture.load(ROOMY).unwrap();
    assert_eq!(fixture.files().len(), 2);
}

#[test]
fn the_least_recently_used_go_first_and_never_those_in_use() {
    let fixture = Fixture::new();
    fixture.load(ROOMY).unwrap();
    let ours = fixture.files();
    let old = fixture.cache.path().join("aa.frames");
    let older = fixture.cache.path().join("bb.frames");
    let killed = fixture.cache.path().join(".unfinished-x");
    let foreign = fixture.cache.path().join("notes.txt");
    for (path, days) in [(&old, 2), (&older, 3), (&killed, 2), (&foreign, 9)] {
        put(path, vec![0; 4000]);
        let then = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        fs::File::options().append(true).open(path).unwrap().set_modified(then).unwrap();
    }
    let used: u64 = ours.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    let loaded = fixture.load(used + 4000).unwrap();
    assert!(old.exists() && !older.exists() && !killed.exists() && foreign.exists());
    assert!(ours.iter().all(|file| file.exists()));
    // What is removed by another run can still be read by this one.
    ours.iter().for_each(|file| fs::remove_file(file).unwrap());
    assert_eq!(frames(&loaded).len(), 2);
}

#[test]
fn a_data_set_beyond_the_limit_is_refused() {
    let fixture = Fixture::new();
    let error = fixture.load(5 * 768).unwrap_err();
    assert!(
        matches!(error, DatasetError::Cache(CacheError::Limit { limit_bytes: 3840 })),
        "{error}"
    );
    assert!(error.to_string().contains("switch the cache off"));
}

#[test]
fn a_folder_that_takes_no_files_is_named() {
    let fixture = Fixture::new();
    let file = fixture.cache.path().join("file");
    put(&file, "");
    let message = FrameCache::open(&file, ROOMY).unwrap_err().to_string();
    assert!(message.contains("cannot be written") && message.contains("file"), "{message}");
}

#[test]
fn a_video_file_is_cached_as_a_folder_is() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data/one.avi");
    if !draw_video(&path, 12) {
        return;
    }
    let cache = FrameCache::open(&root.path().join("cache"), ROOMY).unwrap();
    let videos = testing_videos(&root.path().join("data")).unwrap();
    let cached = LoadOptions { cache: Some(&cache), ..LoadOptions::in_memory(shape()) };
    let first = load(&videos, &cached, |_| ()).unwrap();
    let in_memory = load(&videos, &LoadOptions::in_memory(shape()), |_| ()).unwrap();
    assert_eq!(frames(&first), frames(&in_memory));
    assert_eq!(frames(&load(&videos, &cached, |_| ()).unwrap()), frames(&in_memory));
    assert_eq!(fs::read_dir(cache.folder()).unwrap().count(), 1);
}
