//! ShanghaiTech's layout: training in video files, testing in frames, an array a test video.

use protoguard_datasets::{Dataset, Half, Layout, LoadOptions, load, training_videos};

use crate::fixture::{draw_video, names, put_labels, put_picture, shape};

#[test]
fn scenes_come_from_names_and_labels_from_each_videos_array() {
    let root = tempfile::tempdir().unwrap();
    let testing = root.path().join("testing/frames");
    for (video, frames) in [("01_0014", 6u8), ("12_0149", 5)] {
        for frame in 0..frames {
            put_picture(&testing.join(video).join(format!("{frame:03}.jpg")), 20, frame);
        }
    }
    let masks = root.path().join("testing/test_frame_mask");
    put_labels(&masks.join("01_0014.npy"), &[6], vec![0i32, 0, 1, 1, 0, 0]);
    put_labels(&masks.join("12_0149.npy"), &[5], vec![1i32, 1, 1, 1, 1]);
    let dataset = Dataset::open(root.path(), None).unwrap();
    assert_eq!(dataset.layout(), Layout::ShanghaiTech);
    let videos = dataset.videos(Half::Testing).unwrap();
    assert_eq!(names(&videos), ["01_0014", "12_0149"]);
    let scenes: Vec<_> = videos.iter().map(|video| video.scene.as_deref()).collect();
    assert_eq!(scenes, [Some("01"), Some("12")]);
    let labels = dataset.truth(Some(&videos)).unwrap().labels(&videos, &[6, 5]).unwrap();
    assert_eq!((labels.positives(), labels.video(0)[2]), (7, true));
    let message = dataset.videos(Half::Training).unwrap_err().to_string();
    assert!(message.contains("training/videos\" does not exist"), "{message}");

    if !draw_video(&root.path().join("training/videos/01_001.avi"), 8) {
        return;
    }
    let videos = training_videos(root.path()).unwrap();
    assert_eq!((names(&videos), videos[0].scene.as_deref()), (vec!["01_001"], Some("01")));
    let decoded = load(&videos, &LoadOptions::in_memory(shape()), |_| ()).unwrap();
    assert_eq!((decoded[0].len(), decoded[0].scene.as_deref()), (8, Some("01")));
}
