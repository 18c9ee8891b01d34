//! Label files.

use std::fs;

use protoguard_datasets::{Dataset, GroundTruth, Half, find_labels};
use protoguard_frames::labels::Labels;

use crate::fixture::{put, put_labels, small_set};

#[test]
fn labels_of_every_type_and_both_shapes_are_read() {
    let root = small_set();
    let path = root.path().join("set_frame_labels.npy");
    assert!(find_labels(root.path()).unwrap_err().to_string().contains("no label file"));
    let bits = [0u8, 0, 1, 1, 0, 0, 1, 0, 0, 0, 1];
    let expected = Labels::new(vec![
        bits[..6].iter().map(|&b| b == 1).collect(),
        bits[6..].iter().map(|&b| b == 1).collect(),
    ]);
    let check = || {
        assert_eq!(find_labels(root.path()).unwrap(), path);
        assert_eq!(Labels::read(&path, &[6, 5]).unwrap(), expected);
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
    let path = root.path().join("frame_labels.npy");
    let message = |labels: Vec<u8>, shape: &[u64]| {
        put_labels(&path, shape, labels);
        Labels::read(&path, &[6, 5]).unwrap_err().to_string()
    };
    let found = message(vec![0; 10], &[10]);
    assert!(found.ends_with("has 10 labels; 11 are expected, one for each frame of 2 test videos"));
    let found = message(vec![0; 22], &[2, 11]);
    assert!(found.ends_with("has shape [2, 11]; [11] or [1, 11] is expected"), "{found}");
    let found = message(vec![0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0], &[11]);
    assert!(found.ends_with("the value 3 at frame 2; 0 (normal) or 1 (abnormal) is expected"));
    fs::write(&path, "no array").unwrap();
    let found = Labels::read(&path, &[6, 5]).unwrap_err().to_string();
    assert!(found.contains("is no npy array"), "{found}");
    put_labels(&path, &[11], vec![0u64; 11]);
    let found = Labels::read(&path, &[6, 5]).unwrap_err().to_string();
    assert!(found.contains("values of type '<u8'"), "{found}");
    fs::rename(&path, root.path().join("a_frame_labels.npy")).unwrap();
    fs::write(root.path().join("b_frame_labels.npy"), "").unwrap();
    let found = find_labels(root.path()).unwrap_err().to_string();
    assert!(found.contains("2 label files"), "{found}");
}

#[test]
fn a_table_of_ranges_counts_from_zero_and_names_its_videos() {
    let root = small_set();
    let path = root.path().join("labels.csv");
    let dataset = Dataset::open(root.path(), None).unwrap();
    let videos = dataset.videos(Half::Testing).unwrap();
    let read = |text: &str| {
        put(&path, text);
        dataset.truth(Some(&videos)).unwrap().labels(&videos, &[6, 5])
    };
    let labels = read("video,first,last\n01_0010,0,1\n01_0010,4,4\n").unwrap();
    assert_eq!(labels.video(0), [false; 6]);
    assert_eq!(labels.video(1), [true, true, false, false, true]);
    let message = read("video,first,last\n01_0010,3,5\n").unwrap_err().to_string();
    assert!(
        message.contains("frames 3 to 5 of video 01_0010 abnormal; the video has frames 0 to 4")
    );
    let message = read("video,first,last\n7,0,1\n").unwrap_err().to_string();
    assert!(
        message.contains("names video \"7\"; the test videos are 01_0002, 01_0010"),
        "{message}"
    );
}

#[test]
fn a_label_file_of_an_unknown_kind_is_named() {
    let message = GroundTruth::file("labels.xml".as_ref()).unwrap_err().to_string();
    assert!(message.contains("labels.xml") && message.contains(".npy, .csv or .m"), "{message}");
}
