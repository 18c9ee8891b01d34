//! Pixel ground truth as pictures: UCSD's folders beside the clips, and folders named by video.

use std::fs;
use std::path::Path;

use protoguard_core::Mask;
use protoguard_datasets::{Dataset, Half, PixelTruth, find_labels, testing_videos};
use protoguard_frames::files::Video;
use protoguard_frames::labels::Labels;

use crate::fixture::{put, put_picture, shared};

/// A mask 16 × 20 pixels whose left half is white where the frame is marked.
fn put_mask(path: &Path, marked: bool) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let value = |x: u32| if marked && x < 10 { 255 } else { 0 };
    image::GrayImage::from_fn(20, 16, |x, _| image::Luma([value(x)])).save(path).unwrap();
}

fn half(marked: bool) -> Mask {
    Mask::from_fn(16, 20, |_, x| marked && x < 10)
}

/// Test clips 1 and 3 of 11 frames; the first has masks, white from the third frame on.
fn ucsd(root: &Path) -> Vec<Video> {
    for clip in ["Test001", "Test003"] {
        for frame in 1..=11u8 {
            put_picture(&root.join(format!("Test/{clip}/{frame:03}.tif")), 20, frame);
        }
    }
    for frame in 1..=11 {
        put_mask(&root.join(format!("Test/Test001_gt/frame{frame}.bmp")), frame > 2);
    }
    put(&root.join("Test/Test001_gt/.DS_Store"), "junk");
    testing_videos(root).unwrap()
}

#[test]
fn folders_beside_the_clips_are_found_and_some_clips_have_none() {
    let root = tempfile::tempdir().unwrap();
    let videos = ucsd(root.path());
    let truth = Dataset::open(root.path(), None).unwrap().pixel_truth(&videos).unwrap().unwrap();
    let place = root.path().join("Test/Test001_gt");
    assert_eq!((truth.places(), truth.videos()), (&[Some(place), None][..], 1));
    let masks = truth.masks(&videos, &[11, 11], None).unwrap();
    let expected: Vec<Mask> = (1..=11).map(|frame| half(frame > 2)).collect();
    assert_eq!(masks, [Some(expected), None]);
    let resized = truth.masks(&videos, &[11, 11], Some(8)).unwrap();
    let expected = Mask::from_fn(8, 8, |_, x| x < 4);
    assert_eq!(resized[0].as_ref().unwrap()[5], expected);
}

#[test]
fn counts_sizes_and_bytes_that_are_wrong_are_named() {
    let root = tempfile::tempdir().unwrap();
    let videos = ucsd(root.path());
    let truth = Dataset::open(root.path(), None).unwrap().pixel_truth(&videos).unwrap().unwrap();
    let message = |frames: usize| {
        truth.masks(&videos, &[frames, 11], None).unwrap_err().to_string().replace('\\', "/")
    };
    let found = message(12);
    let words = "Test001_gt\" has 11 masks; 12 are expected, one for each frame of video Test001";
    assert!(found.contains(words), "{found}");
    let odd = root.path().join("Test/Test001_gt/frame7.bmp");
    put_picture(&odd, 24, 0);
    let found = message(11);
    assert!(found.contains("frame7.bmp\" is 16x24 pixels; 16x20 is expected"), "{found}");
    put(&odd, "no picture");
    let found = message(11);
    assert!(found.contains("frame7.bmp") && found.contains("no known format"), "{found}");
}

#[test]
fn folders_named_by_video_are_found_by_name_or_number() {
    let root = tempfile::tempdir().unwrap();
    let videos = ucsd(root.path());
    let elsewhere = tempfile::tempdir().unwrap();
    for frame in 0..11 {
        put_mask(&elsewhere.path().join(format!("03/{frame:03}.png")), frame == 4);
    }
    let truth = PixelTruth::in_folder(elsewhere.path(), &videos).unwrap();
    let masks = truth.masks(&videos, &[11, 11], None).unwrap();
    let expected: Vec<Mask> = (0..11).map(|frame| half(frame == 4)).collect();
    assert_eq!(masks, [None, Some(expected)]);
    // The same folder inside the data set, once no masks lie beside the clips.
    let dataset = Dataset::open(root.path(), None).unwrap();
    fs::remove_dir_all(root.path().join("Test/Test001_gt")).unwrap();
    assert_eq!(dataset.pixel_truth(&videos).unwrap(), None);
    put_mask(&root.path().join("masks/Test003/000.png"), true);
    let inside = dataset.pixel_truth(&videos).unwrap().unwrap();
    assert_eq!(inside.places(), [None, Some(root.path().join("masks/Test003"))]);
    let message = PixelTruth::in_folder(root.path(), &videos).unwrap_err().to_string();
    assert!(message.contains("expected a folder of masks for each test video"), "{message}");
    let message = PixelTruth::in_folder(&root.path().join("no"), &videos).unwrap_err();
    assert!(message.to_string().contains("/no\""), "{message}");
}

#[test]
fn ped2s_masks_mark_something_exactly_where_its_labels_do() {
    let (Some(ped2), Some(folder)) = (shared("ped2"), shared("ped2_masks")) else { return };
    let videos = testing_videos(&ped2).unwrap();
    let frames: Vec<usize> = videos.iter().filter_map(Video::known_frames).collect();
    let labels = Labels::read(&find_labels(&ped2).unwrap(), &frames).unwrap();
    let truth = PixelTruth::in_folder(&folder, &videos).unwrap();
    let masks = truth.masks(&videos, &frames, None).unwrap();
    for (index, masks) in masks.iter().enumerate() {
        let masks = masks.as_ref().unwrap();
        assert_eq!((masks[0].height(), masks[0].width()), (240, 360));
        let marked: Vec<bool> = masks.iter().map(Mask::any).collect();
        assert_eq!(marked, labels.video(index), "video {}", videos[index].name);
    }
    // At a model's side the smallest regions must not vanish.
    let small = truth.masks(&videos, &frames, Some(128)).unwrap();
    let kept = small.iter().flatten().flatten().filter(|mask| mask.any()).count();
    assert_eq!(kept, labels.positives());
    // UCSD's own pictures of clip 5 mark the same pixels.
    let Some(sample) = shared("ped2_tif_sample") else { return };
    let dataset = Dataset::open(&sample, None).unwrap();
    let clip = dataset.videos(Half::Testing).unwrap();
    let own = dataset.pixel_truth(&clip).unwrap().unwrap();
    assert_eq!(own.masks(&clip, &[150], None).unwrap()[0], masks[4]);
}
