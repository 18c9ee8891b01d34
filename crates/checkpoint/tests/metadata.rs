//! What a checkpoint says of its arrays, and the hash over both.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod fixture;

use std::fs;

use protoguard_checkpoint::{Array, Checkpoint, CheckpointError};
use protoguard_core::{ClipMaps, Detector, Plane, Recipe, Statistics};
use serde_json::Value;

use fixture::{refused, with_metadata, without_tensor, written};

#[test]
fn the_hash_follows_weights_and_metadata_and_nothing_else() {
    let checkpoint = Checkpoint::new(fixture::content()).unwrap();
    let same = Checkpoint::new(fixture::content()).unwrap();
    assert_eq!(checkpoint.content_hash(), same.content_hash());
    let mut content = fixture::content();
    content.training.seed += 1;
    assert_ne!(Checkpoint::new(content).unwrap().content_hash(), same.content_hash());
    let mut content = fixture::content();
    content.tensors.insert(
        "prediction.last.bias".to_owned(),
        Array::from_f32(vec![3], &[0.0, 0.1, 0.2]).unwrap(),
    );
    assert_ne!(Checkpoint::new(content).unwrap().content_hash(), same.content_hash());
    let mut light = same.clone();
    light.drop_optimizer();
    assert!(light.content().optimizer.is_empty() && !same.content().optimizer.is_empty());
    assert_eq!(light.content_hash(), same.content_hash());
}

#[test]
fn damage_to_content_shows_in_the_hash() {
    let (_folder, path, _) = written();
    let mut bytes = fs::read(&path).unwrap();
    // The lowest bit of a weight in the middle of the data: finite, and not what was written.
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize + 8;
    let middle = header + (bytes.len() - header) / 8 * 4;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = Checkpoint::read(&path).unwrap_err();
    assert!(matches!(error, CheckpointError::Hash { .. }), "{error}");

    let (_folder, path, _) = written();
    with_metadata(&path, |envelope| envelope["content"]["training"]["seed"] = 99.into());
    let error = Checkpoint::read(&path).unwrap_err();
    assert!(matches!(error, CheckpointError::Hash { .. }), "{error}");
}

#[test]
fn a_newer_format_is_refused_before_anything_else() {
    let (_folder, path, _) = written();
    with_metadata(&path, |envelope| {
        *envelope = serde_json::json!({ "format_version": 4, "novelty": true });
    });
    let error = Checkpoint::read(&path).unwrap_err();
    assert_eq!(error, CheckpointError::NewerFormat { found: 4 });
    assert_eq!(error.to_string(), "checkpoint format is 4; this program reads up to 3");
}

#[test]
fn metadata_of_another_kind_is_refused() {
    let read = |change: fn(&mut Value)| {
        let (_folder, path, _) = written();
        with_metadata(&path, change);
        Checkpoint::read(&path).unwrap_err()
    };
    let error = read(|envelope| envelope["content"]["novelty"] = 1.into());
    assert!(matches!(&error, CheckpointError::Metadata { reason } if reason.contains("novelty")));
    let error = read(|envelope| envelope["format_version"] = Value::Null);
    assert!(matches!(error, CheckpointError::Metadata { .. }), "{error}");
    let error = read(|envelope| envelope["content"]["model"]["shape"]["side"] = 100.into());
    assert!(error.to_string().contains("side is 100; it must be a multiple of 8"), "{error}");
    let error = read(|envelope| envelope["content"]["model"]["base_width"] = 1_000_000.into());
    assert!(matches!(error, CheckpointError::Model(_)), "{error}");
    let error = read(|envelope| envelope["content"]["preprocessing"]["scaling"] = "v".into());
    assert!(matches!(error, CheckpointError::Scaling { .. }), "{error}");
}

#[test]
fn a_golden_clip_comes_with_its_scores() {
    let (_folder, path, _) = written();
    without_tensor(&path, "golden.clip");
    let error = Checkpoint::read(&path).unwrap_err();
    assert_eq!(error, CheckpointError::GoldenClip { found: "missing" });
    let (_folder, path, _) = written();
    with_metadata(&path, |envelope| envelope["content"]["golden"] = Value::Null);
    let error = Checkpoint::read(&path).unwrap_err();
    assert_eq!(error, CheckpointError::GoldenClip { found: "without scores" });
}

#[test]
fn a_detector_that_no_calibration_makes_is_refused() {
    let clip = |frame: u8| {
        let plane = |value: f32| {
            let values = vec![value * (1.0 + f32::from(frame) / 10.0); 16].into();
            Plane { height: 4, width: 4, channels: 1, values }
        };
        let (error, speed) = (plane(0.01), plane(1.0));
        let maps =
            ClipMaps { error, moved: plane(0.02), speed, feature_distance: Some(plane(0.1)) };
        Statistics::of(&maps)
    };
    let clips: Vec<Statistics> = (0..8).map(clip).collect();
    let detector = Recipe::default().calibrate(&[&clips], &[]).unwrap();
    let mut content = fixture::content();
    content.calibrations[0].detector = Some(detector.clone());
    Checkpoint::new(content).unwrap();
    let error = refused(|content| {
        content.calibrations[0].id = "yard".to_owned();
        content.calibrations[0].detector = Some(Detector { knee: -1.0, ..detector });
    });
    assert_eq!(error, CheckpointError::Detector { calibration: "yard".to_owned() });
}
