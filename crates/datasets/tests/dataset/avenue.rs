//! Avenue's layout: video files and masks in MATLAB's format.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use protoguard_core::Mask;
use protoguard_datasets::{Dataset, Half, Layout, LoadOptions, load};
use protoguard_frames::files::{Video, VideoSource};
use protoguard_frames::labels::Labels;
use protoguard_frames::pace::Pace;

use crate::fixture::{draw_video, names, put, shape, shared};

/// An element of the format: a tag, the bytes, and padding to eight.
fn element(kind: u32, bytes: &[u8]) -> Vec<u8> {
    let mut made = [kind.to_le_bytes(), (bytes.len() as u32).to_le_bytes()].concat();
    made.extend_from_slice(bytes);
    made.resize(made.len().next_multiple_of(8), 0);
    made
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A matrix of a class: flags, dimensions, name, then `values`.
fn matrix(class: u32, dimensions: [u32; 2], name: &str, values: &[u8]) -> Vec<u8> {
    let parts = [
        element(6, &words(&[class, 0])),
        element(5, &words(&dimensions)),
        element(1, name.as_bytes()),
        values.to_vec(),
    ];
    element(14, &parts.concat())
}

/// Masks of 2 × 3 pixels as logical bytes, `abnormal` frames with one pixel set.
fn masks(frames: u32, abnormal: &[u32]) -> Vec<u8> {
    let cell = |frame| {
        let pixels = [0, 0, 0, u8::from(abnormal.contains(&frame)), 0, 0];
        matrix(0x209, [2, 3], "", &element(2, &pixels))
    };
    let cells: Vec<u8> = (0..frames).flat_map(cell).collect();
    matrix(1, [1, frames], "volLabel", &cells)
}

fn mat_file(elements: &[Vec<u8>], compressed: bool) -> Vec<u8> {
    let mut file = b"MATLAB 5.0 MAT-file, made for a test".to_vec();
    file.resize(124, b' ');
    file.extend_from_slice(&[0x00, 0x01, b'I', b'M']);
    for plain in elements {
        if !compressed {
            file.extend_from_slice(plain);
            continue;
        }
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        let packed = encoder.finish().unwrap();
        file.extend_from_slice(
            &[15u32.to_le_bytes(), (packed.len() as u32).to_le_bytes()].concat(),
        );
        file.extend_from_slice(&packed);
    }
    file
}

fn video(name: &str) -> Video {
    let source = VideoSource::File(format!("{name}.avi").into());
    Video { name: name.to_owned(), scene: None, source, pace: Pace::default() }
}

/// The labels of one video's masks, read through the layout.
fn read(file: &[u8]) -> Result<Labels, String> {
    let root = tempfile::tempdir().unwrap();
    put(&root.path().join("testing_label_mask/1_label.mat"), file);
    let dataset = Dataset::open(root.path(), None).unwrap();
    assert_eq!(dataset.layout(), Layout::Avenue);
    let truth = dataset.truth(None).unwrap();
    truth.labels(&[video("01")], &[5]).map_err(|error| error.to_string())
}

/// The masks of one video of 5 frames.
fn pixels(file: &[u8]) -> Result<Vec<Mask>, String> {
    let root = tempfile::tempdir().unwrap();
    put(&root.path().join("testing_label_mask/1_label.mat"), file);
    let dataset = Dataset::open(root.path(), None).unwrap();
    let videos = [video("01")];
    let truth = dataset.pixel_truth(&videos).unwrap().unwrap();
    let found = truth.masks(&videos, &[5], None).map_err(|error| error.to_string())?;
    Ok(found.into_iter().flatten().flatten().collect())
}

#[test]
fn masks_become_labels_packed_or_not() {
    let other = matrix(6, [1, 1], "threshold", &element(9, &0.5f64.to_le_bytes()));
    for compressed in [true, false] {
        let file = mat_file(&[other.clone(), masks(5, &[1, 4])], compressed);
        assert_eq!(read(&file).unwrap().video(0), [false, true, false, false, true]);
    }
    let double = |value: f64| {
        let values: Vec<u8> = [-0.0, value].iter().flat_map(|v: &f64| v.to_le_bytes()).collect();
        matrix(6, [1, 2], "", &element(9, &values))
    };
    let cells = [0.0, 1.0, -0.0, f64::MIN_POSITIVE, 0.0].map(double).concat();
    let file = mat_file(&[matrix(1, [1, 5], "volLabel", &cells)], true);
    assert_eq!(read(&file).unwrap().video(0), [false, true, false, true, false]);
}

#[test]
fn files_that_are_no_row_of_masks_are_named() {
    let whole = mat_file(&[masks(5, &[])], true);
    let cases: [(&[u8], &str); 6] = [
        (b"text", "it has 4 bytes"),
        (&[b'x'; 200], "no little-endian MATLAB level 5 file"),
        (&mat_file(&[matrix(6, [1, 1], "vol", &element(9, &[0; 8]))], true), "found vol"),
        (&mat_file(&[matrix(6, [1, 1], "volLabel", &element(9, &[0; 8]))], true), "class 6"),
        (&whole[..whole.len() - 20], "cannot be read"),
        (&mat_file(&[masks(4, &[])], true), "has 4 labels; 5 are expected"),
    ];
    for (file, words) in cases {
        let message = read(file).unwrap_err();
        assert!(message.contains("1_label.mat") && message.contains(words), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    let wrong_cell = matrix(1, [1, 1], "volLabel", &matrix(4, [1, 1], "", &element(4, b"ab")));
    let message = read(&mat_file(&[wrong_cell], true)).unwrap_err();
    assert!(message.contains("a mask is of class 4"), "{message}");
    let short = matrix(1, [1, 1], "volLabel", &matrix(9, [9, 9], "", &element(2, b"ab")));
    let message = read(&mat_file(&[short], true)).unwrap_err();
    assert!(message.contains("stored as type 2 in 2 bytes"), "{message}");
}

#[test]
fn masks_keep_their_pixels() {
    let root = tempfile::tempdir().unwrap();
    put(&root.path().join("testing_label_mask/1_label.mat"), mat_file(&[masks(3, &[1])], true));
    let dataset = Dataset::open(root.path(), None).unwrap();
    let videos = [video("01"), video("02")];
    let truth = dataset.pixel_truth(&videos).unwrap().unwrap();
    assert_eq!(truth.videos(), 1);
    let found = truth.masks(&videos, &[3, 9], None).unwrap();
    // Values go down the columns: the fourth of 2 × 3 pixels is the lower one of the second.
    let marked = Mask::from_fn(2, 3, |y, x| (y, x) == (1, 1));
    let nothing = Mask::empty(2, 3);
    assert_eq!(found, [Some(vec![nothing.clone(), marked.clone(), nothing]), None]);
    let resized = truth.masks(&videos, &[3, 9], Some(4)).unwrap();
    assert_eq!(resized[0].as_ref().unwrap()[1], marked.resized(4, 4));
    let message = truth.masks(&videos, &[4, 9], None).unwrap_err().to_string();
    assert!(message.ends_with("has 3 masks; 4 are expected, one for each frame of video 01"));
}

#[test]
fn damaged_files_never_panic() {
    let whole = mat_file(&[masks(5, &[2])], false);
    for at in 124..whole.len() {
        for value in [0, 1, 9, 0x7F, 0xFF] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            // Any answer will do, as long as there is one.
            let _ = read(&damaged);
            let _ = pixels(&damaged);
        }
    }
}

fn small_avenue(root: &Path) -> bool {
    let drawn = draw_video(&root.join("training_videos/01.avi"), 7)
        && draw_video(&root.join("testing_videos/01.avi"), 6)
        && draw_video(&root.join("testing_videos/02.avi"), 5);
    if drawn {
        let place = root.join("ground_truth_demo/testing_label_mask");
        put(&place.join("1_label.mat"), mat_file(&[masks(6, &[0, 5])], true));
        put(&place.join("2_label.mat"), mat_file(&[masks(5, &[])], true));
    }
    drawn
}

#[test]
fn video_files_and_masks_make_a_data_set() {
    let root = tempfile::tempdir().unwrap();
    if !small_avenue(root.path()) {
        return;
    }
    let dataset = Dataset::open(root.path(), None).unwrap();
    assert_eq!(dataset.layout(), Layout::Avenue);
    let videos = dataset.videos(Half::Testing).unwrap();
    assert_eq!(names(&videos), ["01", "02"]);
    assert!(videos.iter().all(|video| video.known_frames().is_none()));
    let decoded = load(&videos, &LoadOptions::in_memory(shape()), |_| ()).unwrap();
    let frames: Vec<usize> = decoded.iter().map(|video| video.len()).collect();
    assert_eq!(frames, [6, 5]);
    let labels = dataset.truth(Some(&videos)).unwrap().labels(&videos, &frames).unwrap();
    assert_eq!(labels.video(0), [true, false, false, false, false, true]);
    let wrong = dataset.truth(Some(&videos)).unwrap().labels(&videos, &[6, 4]).unwrap_err();
    assert!(wrong.to_string().contains("5 labels; 4 are expected, one for each frame of video 02"));
    fs::remove_file(root.path().join("ground_truth_demo/testing_label_mask/2_label.mat")).unwrap();
    let missing = dataset.truth(Some(&videos)).unwrap_err().to_string();
    assert!(missing.contains("no ground truth for video 02"), "{missing}");
}

#[test]
fn avenues_masks_give_the_published_labels() {
    let (Some(root), Some(expected)) =
        (shared("avenue"), shared("labels/avenue_frame_labels_masks.npy"))
    else {
        return;
    };
    let dataset = Dataset::open(&root, None).unwrap();
    let files = dataset.truth(None).unwrap();
    assert_eq!(files.files().len(), 21);
    let frames = [
        1439, 1211, 923, 947, 1007, 1283, 605, 36, 1175, 841, 472, 1271, 549, 507, 1001, 740, 426,
        294, 248, 273, 76,
    ];
    let videos: Vec<_> = (1..=21).map(|number: usize| video(&format!("{number:02}"))).collect();
    let found = dataset.truth(Some(&videos)).unwrap().labels(&videos, &frames).unwrap();
    assert_eq!((found.frames(), found.positives()), (15_324, 3712));
    assert_eq!(found, Labels::read(&expected, &frames).unwrap());
    let shortest = [8, 21].map(|number: usize| videos[number - 1].clone());
    let truth = dataset.pixel_truth(&shortest).unwrap().unwrap();
    for (masks, number) in truth.masks(&shortest, &[36, 76], None).unwrap().iter().zip([8, 21]) {
        let masks = masks.as_ref().unwrap();
        assert_eq!((masks[0].height(), masks[0].width()), (360, 640));
        let marked: Vec<bool> = masks.iter().map(Mask::any).collect();
        assert_eq!(marked, found.video(number - 1));
    }
}
