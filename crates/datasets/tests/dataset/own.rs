//! A folder of one's own: videos or folders of frames, with and without halves.

use std::fs;

use protoguard_datasets::{
    Dataset, DatasetError, Half, Layout, LoadOptions, load, testing_videos, training_videos,
};

use protoguard_frames::files::FilesError;

use crate::fixture::{draw_video, names, put, put_labels, put_picture, shape};

#[test]
fn folders_of_frames_are_both_halves() {
    let root = tempfile::tempdir().unwrap();
    for (video, frames) in [("cam2", 5u8), ("cam10", 6)] {
        for frame in 0..frames {
            put_picture(&root.path().join(video).join(format!("{frame}.png")), 20, frame);
        }
    }
    put_labels(
        &root.path().join("frame_labels.npy"),
        &[11],
        vec![0u8, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1],
    );
    let dataset = Dataset::open(root.path(), None).unwrap();
    assert_eq!(dataset.layout(), Layout::Own);
    let videos = dataset.videos(Half::Training).unwrap();
    assert_eq!(names(&videos), ["cam2", "cam10"]);
    assert_eq!(dataset.videos(Half::Testing).unwrap(), videos);
    let labels = dataset.truth(Some(&videos)).unwrap().labels(&videos, &[5, 6]).unwrap();
    assert_eq!((labels.positives(), labels.video(1)[4]), (4, true));
    // The folder of one video is a data set of one video.
    let one = testing_videos(&root.path().join("cam10")).unwrap();
    assert_eq!((names(&one), one[0].known_frames()), (vec!["cam10"], Some(6)));
}

#[test]
fn halves_of_video_files_and_frames_mix() {
    let root = tempfile::tempdir().unwrap();
    if !draw_video(&root.path().join("train/morning.mp4"), 9) {
        return;
    }
    for frame in 0..6u8 {
        put_picture(&root.path().join("train/evening").join(format!("{frame}.png")), 20, frame);
    }
    let videos = training_videos(root.path()).unwrap();
    assert_eq!(names(&videos), ["evening", "morning"]);
    let decoded = load(&videos, &LoadOptions::in_memory(shape()), |_| ()).unwrap();
    let frames: Vec<usize> = decoded.iter().map(|video| video.len()).collect();
    assert_eq!(frames, [6, 9]);
    let message = testing_videos(root.path()).unwrap_err().to_string();
    assert!(message.contains("testing\" does not exist"), "{message}");
    put(&root.path().join("train/evening.avi"), "not yet looked at");
    let message = training_videos(root.path()).unwrap_err().to_string();
    assert!(message.contains("video \"evening\" is in") && message.contains("twice"), "{message}");
}

#[test]
fn a_video_too_short_for_a_clip_and_one_that_is_none_are_named() {
    let root = tempfile::tempdir().unwrap();
    let short = root.path().join("short.avi");
    if !draw_video(&short, 3) {
        return;
    }
    let load = || {
        let videos = training_videos(root.path()).unwrap();
        load(&videos, &LoadOptions::in_memory(shape()), |_| ()).unwrap_err()
    };
    let error = load();
    assert!(
        matches!(error, DatasetError::Files(FilesError::TooShort { found: 3, needed: 5, .. })),
        "{error}"
    );
    fs::write(&short, "text").unwrap();
    let error = load().to_string();
    assert!(error.contains("short.avi\" cannot be decoded as a video"), "{error}");
}

#[test]
fn a_folder_of_no_known_layout_is_named_with_what_would_be() {
    let root = tempfile::tempdir().unwrap();
    put(&root.path().join("notes/readme.txt"), "nothing");
    for error in [
        Dataset::open(root.path(), None).unwrap_err(),
        Dataset::open(root.path(), Some(Layout::Avenue)).unwrap_err(),
    ] {
        let message = error.to_string();
        assert!(message.contains(root.path().to_str().unwrap()), "{message}");
        assert!(message.contains("training_videos/*.avi"), "{message}");
    }
    let message = "cctv".parse::<Layout>().unwrap_err().to_string();
    assert!(message.contains("ucsd, avenue, shanghaitech, converted, own"), "{message}");
}
