//! The layout that research code uses.

use std::fs;

use protoguard_datasets::{
    Dataset, Layout, LoadOptions, find_labels, load, testing_videos, training_videos,
};
use protoguard_frames::files::{Video, VideoSource, videos_under};
use protoguard_frames::labels::Labels;

use crate::fixture::{names, shape, shared, small_set};

#[test]
fn videos_and_frames_come_in_natural_order_without_junk() {
    let root = small_set();
    let videos = testing_videos(root.path()).unwrap();
    assert_eq!(names(&videos), ["01_0002", "01_0010"]);
    assert!(videos.iter().all(|video| video.scene.as_deref() == Some("01")));
    let VideoSource::Frames(paths) = &videos[0].source else { panic!("{:?}", videos[0]) };
    let frames: Vec<_> = paths.iter().map(|f| f.file_name().unwrap()).collect();
    assert_eq!(frames, ["0.png", "5.png", "10.png", "15.png", "20.png", "25.png"]);
    assert_eq!(videos_under(&root.path().join("testing/frames"), "videos").unwrap(), videos);
    assert_eq!(videos_under(&videos[0].path(), "videos").unwrap(), videos[..1]);
    assert_eq!(Dataset::open(root.path(), None).unwrap().layout(), Layout::Converted);
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
    let message = videos_under(&file, "a folder of frames").unwrap_err().to_string();
    assert!(message.contains("is a file; expected a folder of frames"), "{message}");
}

#[test]
fn ped2_has_the_counts_of_its_paper() {
    let Some(root) = shared("ped2") else { return };
    let frames = |videos: &[Video]| videos.iter().filter_map(Video::known_frames).sum();
    let (training, testing) = (training_videos(&root).unwrap(), testing_videos(&root).unwrap());
    assert_eq!((training.len(), testing.len()), (16, 12));
    let counted: [usize; 2] = [frames(&training), frames(&testing)];
    assert_eq!(counted, [2550, 2010]);
    assert!(testing.iter().all(|video| video.scene.is_none()));
    let counts: Vec<usize> = testing.iter().filter_map(Video::known_frames).collect();
    let labels = Labels::read(&find_labels(&root).unwrap(), &counts).unwrap();
    let kept: usize =
        labels.videos().iter().map(|v| v[4..].iter().filter(|&&label| label).count()).sum();
    assert_eq!((labels.frames(), labels.positives(), kept), (2010, 1648, 1620));
    let decoded = load(&testing[3..4], &LoadOptions::in_memory(shape()), |_| ()).unwrap();
    assert_eq!(decoded[0].clip_count(shape()), counts[3] - 4);
}
