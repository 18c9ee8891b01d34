//! UCSD's layout with its traps, on a small copy and on the published sample.

use std::fs;
use std::path::Path;

use protoguard_datasets::{
    Dataset, Half, Layout, LoadOptions, find_labels, load, testing_videos, training_videos,
};
use protoguard_frames::files::Video;
use protoguard_frames::labels::Labels;
use tempfile::TempDir;

use crate::fixture::{names, put, put_picture, shape, shared};

const SCRIPT: &str = "TestVideoFile = {};\nTestVideoFile{end+1}.gt_frame = [2:3, 5:6];\n\
    TestVideoFile{end+1}.gt_frame = [1:6];\nTestVideoFile{end+1}.gt_frame = [4:4];\n";

/// Clips 1 and 3 of three, the masks of one called `frameNNN.bmp`.
fn small_ucsd() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("UCSDped9");
    for frame in 1..=6u8 {
        put_picture(&set.join(format!("Train/Train001/{frame:03}.tif")), 20, frame);
        for (clip, prefix, abnormal) in [(1, "frame", &[2, 3, 5, 6][..]), (3, "", &[4])] {
            put_picture(&set.join(format!("Test/Test{clip:03}/{frame:03}.tif")), 20, frame);
            let white = if abnormal.contains(&frame) { 255 } else { 0 };
            let mask = set.join(format!("Test/Test{clip:03}_gt/{prefix}{frame:03}.bmp"));
            put_picture(&mask, 20, white);
        }
    }
    put(&set.join("Test/UCSDped9.m"), SCRIPT);
    put(&set.join("Test/UCSDped9.m~"), "TestVideoFile = {};\nnonsense");
    put(&set.join("Test/._UCSDped9.m"), [0u8, 5, 22]);
    put(&set.join("Test/.DS_Store"), [0u8; 40]);
    put(&set.join("Test/Test001_gt/._.DS_Store"), [0u8; 4]);
    put(&root.path().join("README.txt"), "UCSD");
    root
}

fn labels(root: &Path) -> Labels {
    let dataset = Dataset::open(root, None).unwrap();
    let videos = dataset.videos(Half::Testing).unwrap();
    dataset.truth(Some(&videos)).unwrap().labels(&videos, &[6, 6]).unwrap()
}

#[test]
fn the_archives_folder_is_found_in_the_one_given() {
    let root = small_ucsd();
    let dataset = Dataset::open(root.path(), None).unwrap();
    assert_eq!((dataset.layout(), dataset.name().as_str()), (Layout::Ucsd, "UCSDped9"));
    assert_eq!(names(&training_videos(root.path()).unwrap()), ["Train001"]);
    assert_eq!(names(&testing_videos(dataset.root()).unwrap()), ["Test001", "Test003"]);
    fs::create_dir_all(root.path().join("UCSDped8/Train/Train001")).unwrap();
    let message = Dataset::open(root.path(), None).unwrap_err().to_string();
    assert!(message.contains("2 data sets (UCSDped8, UCSDped9); name one"), "{message}");
}

#[test]
fn entries_go_by_the_clips_number_and_frames_count_from_one() {
    let root = small_ucsd();
    let from_script = labels(root.path());
    assert_eq!(from_script.video(0), [false, true, true, false, true, true]);
    assert_eq!(from_script.video(1), [false, false, false, true, false, false]);
    // Without the script the masks speak, whichever way they are called.
    fs::remove_file(root.path().join("UCSDped9/Test/UCSDped9.m")).unwrap();
    assert_eq!(labels(root.path()), from_script);
    fs::remove_dir_all(root.path().join("UCSDped9/Test/Test003_gt")).unwrap();
    let dataset = Dataset::open(root.path(), None).unwrap();
    let videos = dataset.videos(Half::Testing).unwrap();
    let message = dataset.truth(Some(&videos)).unwrap_err().to_string();
    assert!(message.contains("no label file") && message.contains("UCSDped2.m"), "{message}");
}

#[test]
fn a_range_beyond_the_clip_and_a_missing_entry_are_named() {
    let root = small_ucsd();
    let script = root.path().join("UCSDped9/Test/UCSDped9.m");
    let dataset = Dataset::open(root.path(), Some(Layout::Ucsd)).unwrap();
    let videos = dataset.videos(Half::Testing).unwrap();
    let message = |text: &str| {
        put(&script, text);
        dataset.truth(Some(&videos)).unwrap().labels(&videos, &[6, 6]).unwrap_err().to_string()
    };
    let found = message("TestVideoFile = {};\nTestVideoFile{end+1}.gt_frame = [2:7];\n");
    assert!(found.contains("frames 2 to 7 of video Test001") && found.contains("frames 1 to 6"));
    let found = message("TestVideoFile = {};\nTestVideoFile{end+1}.gt_frame = [2:6];\n");
    assert!(found.contains("no ground truth for video Test003"), "{found}");
}

#[test]
fn the_published_sample_is_read_without_its_traps() {
    let Some(root) = shared("ped2_tif_sample") else { return };
    let dataset = Dataset::open(&root, None).unwrap();
    assert_eq!((dataset.layout(), dataset.name().as_str()), (Layout::Ucsd, "UCSDped2"));
    let videos = testing_videos(&root).unwrap();
    assert_eq!(names(&videos), ["Test005"]);
    let decoded = load(&videos, &LoadOptions::in_memory(shape()), |_| ()).unwrap();
    assert_eq!((decoded[0].name.as_str(), decoded[0].len()), ("Test005", 150));
    let truth = dataset.truth(Some(&videos)).unwrap();
    assert_eq!(truth.files(), [dataset.root().join("Test/UCSDped2.m")]);
    let labels = truth.labels(&videos, &[150]).unwrap();
    assert_eq!(labels.positives(), 129);
    let agreement = truth.agreement(&dataset.clip_masks()).unwrap().unwrap();
    assert_eq!((agreement.entries, agreement.frames, agreement.differing), (12, 150, 0));
}

#[test]
fn ped2s_script_agrees_with_the_label_file_in_use() {
    let (Some(sample), Some(ped2)) = (shared("ped2_tif_sample"), shared("ped2")) else { return };
    let converted = testing_videos(&ped2).unwrap();
    let frames: Vec<usize> = converted.iter().filter_map(Video::known_frames).collect();
    let expected = Labels::read(&find_labels(&ped2).unwrap(), &frames).unwrap();
    let dataset = Dataset::open(&sample, None).unwrap();
    let truth = dataset.truth(Some(&dataset.videos(Half::Testing).unwrap())).unwrap();
    // The converted clips are called 01 to 12: the numbers of the script's entries.
    assert_eq!(truth.labels(&converted, &frames).unwrap(), expected);
}
