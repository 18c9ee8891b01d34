//! Layouts, labels and the store, on folders made for the test and on Ped2 where it is at hand.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

use std::fs;
use std::path::{Path, PathBuf};

use npyz::{AutoSerialize, WriterBuilder};
use protoguard_core::{ClipShape, Frame};
use protoguard_data::{
    DecodeLimits, DecodedVideo, Labels, load, split_held_out, testing_videos, training_videos,
    videos_under,
};
use tempfile::TempDir;

fn shape() -> ClipShape {
    ClipShape::new(4, 16).unwrap()
}

fn put_png(path: &Path, width: u32, value: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::GrayImage::from_pixel(width, 16, image::Luma([value])).save(path).unwrap();
}

fn put_labels<T: AutoSerialize>(path: &Path, shape: &[u64], labels: Vec<T>) {
    let file = fs::File::create(path).unwrap();
    let mut npy =
        npyz::WriteOptions::new().default_dtype().shape(shape).writer(file).begin_nd().unwrap();
    npy.extend(labels).unwrap();
    npy.finish().unwrap();
}

/// Test videos `01_0002` of 6 frames and `01_0010` of 5, with junk beside the frames.
fn small_set() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let testing = root.path().join("testing/frames");
    for (video, frames) in [("01_0010", 5), ("01_0002", 6)] {
        for frame in 0..frames {
            put_png(&testing.join(video).join(format!("{}.png", frame * 5)), 20, frame as u8 * 9);
        }
        for junk in [".DS_Store", "._0.png", "Thumbs.db", "notes.txt"] {
            fs::write(testing.join(video).join(junk), "junk").unwrap();
        }
    }
    fs::write(testing.join(".DS_Store"), "junk").unwrap();
    root
}

#[test]
fn videos_and_frames_come_in_natural_order_without_junk() {
    let root = small_set();
    let videos = testing_videos(root.path()).unwrap();
    let names: Vec<&str> = videos.iter().map(|video| video.name.as_str()).collect();
    assert_eq!(names, ["01_0002", "01_0010"]);
    assert!(videos.iter().all(|video| video.scene.as_deref() == Some("01")));
    let frames: Vec<_> = videos[0].frames.iter().map(|f| f.file_name().unwrap()).collect();
    assert_eq!(frames, ["0.png", "5.png", "10.png", "15.png", "20.png", "25.png"]);
    assert_eq!(videos_under(&root.path().join("testing/frames")).unwrap(), videos);
    assert_eq!(videos_under(videos[0].frames[0].parent().unwrap()).unwrap(), videos[..1]);
}

#[test]
fn folders_that_are_no_data_set_are_named() {
    let root = small_set();
    let message = training_videos(root.path()).unwrap_err().to_string();
    assert!(message.contains("training/frames\" does not exist"), "{message}");
    assert!(message.contains("training/frames/<video>/<frame>.jpg"), "{message}");
    let message = training_videos(&root.path().join("nowhere")).unwrap_err().to_string();
    assert!(message.contains("nowhere\" does not exist"), "{message}");
    fs::create_dir_all(root.path().join("training/frames/01")).unwrap();
    let message = training_videos(root.path()).unwrap_err().to_string();
    assert!(message.contains("frames/01\" has 0 folders, 0 other files"), "{message}");
    let file = root.path().join("testing/frames/01_0002/0.png");
    let message = videos_under(&file).unwrap_err().to_string();
    assert!(message.contains("is a file; expected a folder of frames"), "{message}");
}

#[test]
fn labels_of_every_type_and_both_shapes_are_read() {
    let root = small_set();
    let videos = testing_videos(root.path()).unwrap();
    let path = root.path().join("set_frame_labels.npy");
    assert!(Labels::find(root.path()).unwrap_err().to_string().contains("no label file"));
    let bits = [0u8, 0, 1, 1, 0, 0, 1, 0, 0, 0, 1];
    let expected = Labels::new(vec![
        bits[..6].iter().map(|&b| b == 1).collect(),
        bits[6..].iter().map(|&b| b == 1).collect(),
    ]);
    let check = || {
        assert_eq!(Labels::find(root.path()).unwrap(), path);
        assert_eq!(Labels::read(&path, &videos).unwrap(), expected);
    };
    put_labels(&path, &[11], bits.to_vec());
    check();
    put_labels(&path, &[1, 11], bits.map(i64::from).to_vec());
    check();
    put_labels(&path, &[11], bits.map(f32::from).to_vec());
    check();
    put_labels(&path, &[11], bits.map(|b| b == 1).to_vec());
    check();
    put_labels(&path, &[11], bits.map(i16::from).to_vec());
    check();
    assert_eq!((expected.frames(), expected.positives()), (11, 4));
}

#[test]
fn labels_that_do_not_fit_are_named() {
    let root = small_set();
    let videos = testing_videos(root.path()).unwrap();
    let path = root.path().join("frame_labels.npy");
    let message = |labels: Vec<u8>, shape: &[u64]| {
        put_labels(&path, shape, labels);
        Labels::read(&path, &videos).unwrap_err().to_string()
    };
    let found = message(vec![0; 10], &[10]);
    assert!(found.ends_with("has 10 labels; 11 are expected, one for each frame of 2 test videos"));
    let found = message(vec![0; 22], &[2, 11]);
    assert!(found.ends_with("has shape [2, 11]; [11] or [1, 11] is expected"), "{found}");
    let found = message(vec![0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0], &[11]);
    assert!(found.ends_with("the value 3 at frame 2; 0 (normal) or 1 (abnormal) is expected"));
    fs::write(&path, "no array").unwrap();
    let found = Labels::read(&path, &videos).unwrap_err().to_string();
    assert!(found.contains("is no npy array"), "{found}");
    put_labels(&path, &[11], vec![0u64; 11]);
    let found = Labels::read(&path, &videos).unwrap_err().to_string();
    assert!(found.contains("values of type '<u8'"), "{found}");
    fs::rename(&path, root.path().join("a_frame_labels.npy")).unwrap();
    fs::write(root.path().join("b_frame_labels.npy"), "").unwrap();
    let found = Labels::find(root.path()).unwrap_err().to_string();
    assert!(found.contains("2 label files"), "{found}");
}

#[test]
fn the_store_reports_progress_and_gives_every_clip() {
    let root = small_set();
    let videos = testing_videos(root.path()).unwrap();
    let most = std::sync::atomic::AtomicUsize::new(0);
    let progress = |done| {
        most.fetch_max(done, std::sync::atomic::Ordering::Relaxed);
    };
    let decoded = load(&videos, shape(), &DecodeLimits::default(), progress).unwrap();
    assert_eq!(most.into_inner(), 11);
    let clips: Vec<_> = decoded[0].clips(shape()).collect();
    assert_eq!(clips.len(), 2);
    let values: Vec<u8> = clips[1].frames().iter().map(|frame| frame.pixels()[0]).collect();
    assert_eq!(values, [9, 18, 27, 36, 45]);
    assert_eq!(decoded[0].clip_at(shape(), 2), None);
    assert_eq!(decoded[0].clip_at(shape(), usize::MAX), None);
}

fn load_error(root: &TempDir) -> String {
    let videos = testing_videos(root.path()).unwrap();
    let error = load(&videos, shape(), &DecodeLimits::default(), |_| ()).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[test]
fn frames_that_cannot_be_used_are_named() {
    let root = small_set();
    let frames = root.path().join("testing/frames/01_0002");
    put_png(&frames.join("15.png"), 24, 1);
    let error = load_error(&root);
    assert!(error.contains("15.png\" is 16x24 pixels; 16x20 is expected"), "{error}");
    fs::write(frames.join("10.png"), "text").unwrap();
    let error = load_error(&root);
    assert!(error.contains("10.png\": image is in no known format"), "{error}");
    fs::write(frames.join("10.png"), [0xFF, 0xD8, 0xFF, 0xE0]).unwrap();
    let error = load_error(&root);
    assert!(error.contains("10.png\": JPEG image cannot be decoded"), "{error}");
    for frame in ["5.png", "10.png"] {
        fs::remove_file(frames.join(frame)).unwrap();
    }
    let error = load_error(&root);
    assert!(error.contains("01_0002\" has 4 frames; at least 5 are needed"), "{error}");
}

fn counted(frames: usize) -> DecodedVideo {
    let frame = |i: usize| Frame::new(16, 16, vec![i as u8; 768]).unwrap();
    let name = frames.to_string();
    DecodedVideo { name, scene: None, frames: (0..frames).map(frame).collect() }
}

#[test]
fn the_last_tenth_is_held_out_and_no_frame_is_in_both_parts() {
    let split = split_held_out(&[counted(100), counted(20), counted(9)], shape(), 0.1);
    let lengths =
        |videos: &[DecodedVideo]| videos.iter().map(|v| v.frames.len()).collect::<Vec<_>>();
    assert_eq!(lengths(&split.training), [90, 15, 9]);
    assert_eq!(lengths(&split.held_out), [10, 5]);
    assert_eq!(split.held_out[0].frames[0].pixels()[0], 90);
    let none = split_held_out(&[counted(100)], shape(), 0.0);
    assert_eq!((lengths(&none.training), none.held_out.len()), (vec![100], 0));
}

fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if !path.exists() {
        println!("skipped: {path:?} is not here");
        return None;
    }
    Some(path)
}

#[test]
fn ped2_has_the_counts_of_its_paper() {
    let Some(root) = shared("ped2") else { return };
    let frames = |videos: &[protoguard_data::Video]| videos.iter().map(|v| v.frames.len()).sum();
    let (training, testing) = (training_videos(&root).unwrap(), testing_videos(&root).unwrap());
    assert_eq!((training.len(), testing.len()), (16, 12));
    let counted: [usize; 2] = [frames(&training), frames(&testing)];
    assert_eq!(counted, [2550, 2010]);
    assert!(testing.iter().all(|video| video.scene.is_none()));
    let labels = Labels::read(&Labels::find(&root).unwrap(), &testing).unwrap();
    let kept: usize =
        labels.videos().iter().map(|v| v[4..].iter().filter(|&&label| label).count()).sum();
    assert_eq!((labels.frames(), labels.positives(), kept), (2010, 1648, 1620));
    let decoded = load(&testing[3..4], shape(), &DecodeLimits::default(), |_| ()).unwrap();
    assert_eq!(decoded[0].clip_count(shape()), testing[3].frames.len() - 4);
}

#[test]
fn ped2s_original_layout_is_read_without_its_traps() {
    let Some(root) = shared("ped2_tif_sample/UCSDped2/Test") else { return };
    let videos = videos_under(&root).unwrap();
    assert_eq!(videos.len(), 1);
    let decoded = load(&videos, shape(), &DecodeLimits::default(), |_| ()).unwrap();
    assert_eq!((decoded[0].name.as_str(), decoded[0].frames.len()), ("Test005", 150));
}
