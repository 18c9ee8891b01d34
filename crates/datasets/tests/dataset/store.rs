//! Decoding, splitting, and frames that cannot be used.

use std::fs;

use protoguard_core::Frame;
use protoguard_datasets::{DecodedVideo, LoadOptions, load, split_held_out, testing_videos};
use tempfile::TempDir;

use crate::fixture::{put_picture, shape, small_set};

#[test]
fn the_store_reports_progress_and_gives_every_clip() {
    let root = small_set();
    let videos = testing_videos(root.path()).unwrap();
    let most = std::sync::atomic::AtomicUsize::new(0);
    let progress = |done| {
        most.fetch_max(done, std::sync::atomic::Ordering::Relaxed);
    };
    let decoded = load(&videos, &LoadOptions::in_memory(shape()), progress).unwrap();
    assert_eq!(most.into_inner(), 11);
    let clips: Vec<_> = decoded[0].clips(shape()).map(Result::unwrap).collect();
    assert_eq!(clips.len(), 2);
    let values: Vec<u8> = clips[1].frames().iter().map(|frame| frame.pixels()[0]).collect();
    assert_eq!(values, [9, 18, 27, 36, 45]);
    assert_eq!(decoded[0].clip_at(shape(), 1).unwrap().as_ref(), Some(&clips[1]));
    assert_eq!(decoded[0].clip_at(shape(), 2).unwrap(), None);
    assert_eq!(decoded[0].clip_at(shape(), usize::MAX).unwrap(), None);
}

fn load_error(root: &TempDir) -> String {
    let videos = testing_videos(root.path()).unwrap();
    let error = load(&videos, &LoadOptions::in_memory(shape()), |_| ()).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[test]
fn frames_that_cannot_be_used_are_named() {
    let root = small_set();
    let frames = root.path().join("testing/frames/01_0002");
    put_picture(&frames.join("15.png"), 24, 1);
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
    DecodedVideo::in_memory(&frames.to_string(), None, (0..frames).map(frame).collect())
}

fn lengths(videos: &[DecodedVideo]) -> Vec<usize> {
    videos.iter().map(DecodedVideo::len).collect()
}

#[test]
fn few_videos_lose_their_ends_behind_a_gap_and_no_frame_is_in_both_parts() {
    let split = split_held_out(&[counted(100), counted(20), counted(9)], shape(), 0.1);
    assert_eq!(lengths(&split.training), [87, 14, 9]);
    assert_eq!(lengths(&split.held_out), [10, 5]);
    assert_eq!(split.held_out[0].frame(0).unwrap().unwrap().pixels()[0], 90);
    assert_eq!(split.training[0].frame(87).unwrap(), None);
    // Two clips of five frames and one between them are the least; a video without a clip does not
    // make many of few.
    let split = split_held_out(&[counted(10), counted(11)], shape(), 0.1);
    assert_eq!((lengths(&split.training), lengths(&split.held_out)), (vec![10, 5], vec![5]));
    let split = split_held_out(&[40, 41, 42, 3].map(counted), shape(), 0.1);
    assert_eq!(lengths(&split.training), [34, 35, 36, 3]);
    assert_eq!(lengths(&split.held_out), [5, 5, 5]);
    let none = split_held_out(&[counted(100)], shape(), 0.0);
    assert_eq!((lengths(&none.training), none.held_out.len()), (vec![100], 0));
}

#[test]
fn of_many_videos_whole_ones_are_held_out_from_every_scene() {
    let many: Vec<DecodedVideo> = (50..66).map(counted).collect();
    let of = |fraction| lengths(&split_held_out(&many, shape(), fraction).held_out);
    assert_eq!(of(0.1), [54, 62]);
    assert_eq!(of(0.25), [52, 56, 60, 64]);
    assert_eq!(of(0.01), [58]);
    assert_eq!(of(0.0), [0; 0]);
    let split = split_held_out(&many, shape(), 0.25);
    assert_eq!(split.training.len() + split.held_out.len(), 16);
    assert!(lengths(&split.training).iter().all(|length| ![52, 56, 60, 64].contains(length)));

    // Four videos of one scene, one of another, and one that is too short to count.
    let mut scenes: Vec<DecodedVideo> = [40, 41, 42, 43, 100, 3].map(counted).into();
    for (index, video) in scenes.iter_mut().enumerate() {
        video.scene = Some(if index == 4 { "gate" } else { "yard" }.to_owned());
    }
    let split = split_held_out(&scenes, shape(), 0.1);
    assert_eq!(lengths(&split.held_out), [42, 10]);
    assert_eq!(lengths(&split.training), [40, 41, 43, 87, 3]);
}

#[test]
fn a_tiff_that_breaks_off_is_named() {
    let root = small_set();
    let frames = root.path().join("testing/frames/01_0002");
    let path = frames.join("12.tif");
    put_picture(&path, 20, 7);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() * 2 / 3]).unwrap();
    let error = load_error(&root);
    assert!(error.contains("12.tif\": TIFF image cannot be decoded"), "{error}");
}
