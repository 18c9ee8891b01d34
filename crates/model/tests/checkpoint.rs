//! The checkpoint file: round trip, and every way in which it may be wrong.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod fixture;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use protoguard_core::{ClipMaps, Detector, Plane, Recipe, Statistics};
use protoguard_model::checkpoint::{
    Array, Checkpoint, CheckpointContent, CheckpointError, Dtype, MemoryUpdate,
};
use protoguard_model::{Batch, Network};
use safetensors::SafeTensors;
use serde_json::Value;
use tch::Device;
use tempfile::TempDir;

fn written() -> (TempDir, PathBuf, Checkpoint) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let checkpoint = Checkpoint::new(fixture::content()).unwrap();
    checkpoint.write(&path).unwrap();
    (folder, path, checkpoint)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Rewrites a file's metadata, leaving its tensors.
fn with_metadata(path: &Path, change: impl FnOnce(&mut Value)) {
    let bytes = fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut envelope: Value =
        serde_json::from_str(&header.metadata().as_ref().unwrap()["protoguard"]).unwrap();
    change(&mut envelope);
    let metadata = HashMap::from([("protoguard".to_owned(), envelope.to_string())]);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    fs::write(path, safetensors::serialize(file.iter(), Some(metadata)).unwrap()).unwrap();
}

/// Rewrites a file's tensors, leaving its metadata.
fn without_tensor(path: &Path, name: &str) {
    let bytes = fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let kept = file.iter().filter(|(found, _)| *found != name);
    fs::write(path, safetensors::serialize(kept, header.metadata().clone()).unwrap()).unwrap();
}

fn refused(change: impl FnOnce(&mut CheckpointContent)) -> CheckpointError {
    let mut content = fixture::content();
    change(&mut content);
    Checkpoint::new(content).unwrap_err()
}

#[test]
fn a_round_trip_loses_nothing() {
    let (folder, path, checkpoint) = written();
    let read = Checkpoint::read(&path).unwrap();
    assert_eq!(read, checkpoint);
    assert_eq!(read.version().len(), 12);
    assert!(read.content_hash().starts_with(read.version()));
    assert_eq!(names(folder.path()), ["model.safetensors"]);

    let again = folder.path().join("again.safetensors");
    read.write(&again).unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());
}

#[test]
fn a_network_comes_back_as_it_was() {
    let (_folder, path, _) = written();
    let config = fixture::config();
    let original = fixture::network(&config);
    let restored =
        Network::from_checkpoint(&Checkpoint::read(&path).unwrap(), Device::Cpu).unwrap();
    assert_eq!(restored.to_arrays().unwrap(), original.to_arrays().unwrap());
    let batch = Batch::from_clips(&fixture::clips(config.shape, 2), Device::Cpu).unwrap();
    let predict = |network: &Network| network.forward_inference(&batch.input, true).unwrap();
    assert_eq!(predict(&restored).prediction, predict(&original).prediction);
    let motion = |network| predict(network).motion.unwrap().maps;
    assert_eq!(motion(&restored), motion(&original));
}

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
fn a_missing_tensor_is_named() {
    let error = refused(|content| drop(content.tensors.remove("encoder.2.conv1.weight")));
    let expected =
        "checkpoint tensor encoder.2.conv1.weight is missing; shape [6, 3, 3, 3] is expected";
    assert_eq!(error.to_string(), expected);
    let (_folder, path, _) = written();
    without_tensor(&path, "memory.items");
    let error = Checkpoint::read(&path).unwrap_err();
    assert!(matches!(error, CheckpointError::MissingTensor { .. }), "{error}");
}

#[test]
fn an_unexpected_tensor_is_named() {
    let array = Array::from_f32(vec![1], &[0.0]).unwrap();
    let error =
        refused(|content| drop(content.tensors.insert("encoder.5.conv1.bias".to_owned(), array)));
    let name = "encoder.5.conv1.bias".to_owned();
    assert_eq!(error, CheckpointError::UnexpectedTensor { name });
}

#[test]
fn a_wrong_shape_is_named() {
    let array = Array::from_f32(vec![4], &[0.0; 4]).unwrap();
    let error =
        refused(|content| drop(content.tensors.insert("prediction.last.bias".to_owned(), array)));
    let expected = "checkpoint tensor prediction.last.bias has shape [4]; [3] is expected";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_wrong_dtype_is_named() {
    let array = Array::new(Dtype::Bf16, vec![3], vec![0; 6]).unwrap();
    let error =
        refused(|content| drop(content.tensors.insert("prediction.last.bias".to_owned(), array)));
    let expected = "checkpoint tensor prediction.last.bias has dtype BF16; F32 or F16 is expected";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn nan_is_named_wherever_it_is() {
    let nan = || Array::from_f32(vec![3], &[0.0, f32::NAN, 0.0]).unwrap();
    let error =
        refused(|content| drop(content.tensors.insert("prediction.last.bias".to_owned(), nan())));
    let name = "prediction.last.bias".to_owned();
    assert_eq!(error, CheckpointError::NotFinite { name, index: 1 });
    let error = refused(|content| drop(content.optimizer.insert("m".to_owned(), nan())));
    assert!(matches!(error, CheckpointError::NotFinite { .. }), "{error}");
    let error = refused(|content| {
        content.training.metrics.insert("loss".to_owned(), f64::NAN);
    });
    let name = "metrics.loss".to_owned();
    assert_eq!(error, CheckpointError::NotFinite { name, index: 0 });
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

/// Finite numbers that no training makes, and that would make NaN of every score.
#[test]
fn a_negative_variance_and_a_scale_of_zero_are_named() {
    let with = |content: &mut CheckpointContent, name: &str, array: Array| {
        drop(content.tensors.insert(name.to_owned(), array));
    };
    let array = |values: &[f32]| Array::from_f32(vec![values.len()], values).unwrap();
    let (name, variances) = ("encoder.1.norm2.running_var", [1.0, 0.0, -0.5]);
    let error = refused(|content| with(content, name, array(&variances)));
    assert_eq!(
        error.to_string(),
        "checkpoint tensor encoder.1.norm2.running_var is -0.5 at element 2; a variance of at \
         least 0 is expected"
    );
    let half = Array::new(Dtype::F16, vec![3], vec![0, 0x3c, 0, 0x80, 0, 0xbc]).unwrap();
    let error = refused(|content| with(content, name, half));
    assert!(matches!(error, CheckpointError::OutOfRange { index: 2, found: -1.0, .. }), "{error}");
    // A mean may be below zero, and a variance zero.
    let mut content = fixture::content();
    with(&mut content, name, array(&[0.0, 0.0, 1.0]));
    with(&mut content, "encoder.1.norm2.running_mean", array(&[-1.0, 0.0, 1.0]));
    Checkpoint::new(content).unwrap();

    for (scale, accepted) in [(0.25, true), (0.0, false), (-1.0, false)] {
        let mut content = fixture::content();
        let memory = content.model.memory.as_mut().unwrap();
        (memory.update, memory.normalize_query) = (MemoryUpdate::Ema, false);
        with(&mut content, "memory.scale", array(&[scale]));
        let found = Checkpoint::new(content).map(drop).map_err(|error| error.to_string());
        let expected = format!(
            "checkpoint tensor memory.scale is {scale} at element 0; a number above 0 is expected"
        );
        assert_eq!(found, if accepted { Ok(()) } else { Err(expected) });
    }
}

#[test]
fn a_header_is_not_looked_at_beyond_its_bound() {
    let (_folder, path, _) = written();
    // A header of exactly so many bytes, and then one more: blanks after JSON are JSON.
    let bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let (header, data) = bytes[8..].split_at(length);
    let with_header = |length: usize| {
        let blanks = vec![b' '; length - header.len()];
        [&(length as u64).to_le_bytes()[..], header, &blanks, data].concat()
    };
    fs::write(&path, with_header(4 << 20)).unwrap();
    Checkpoint::read(&path).unwrap();
    fs::write(&path, with_header((4 << 20) + 1)).unwrap();
    let error = Checkpoint::read(&path).unwrap_err().to_string();
    let expected = "its header has 4194305 bytes; at most 4194304 are expected";
    assert!(error.ends_with(expected), "{error}");
    // Nor is one written that could not be read.
    let mut content = fixture::content();
    content.training.data = "a".repeat(4 << 20);
    let error = Checkpoint::new(content).unwrap().write(&path).unwrap_err().to_string();
    assert!(error.ends_with("bytes; at most 4194304 are expected"), "{error}");
}

#[test]
fn a_truncated_file_is_recognised_wherever_it_ends() {
    let (_folder, path, _) = written();
    let bytes = fs::read(&path).unwrap();
    // What is expected is known once the length of the header is, and then the header.
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for (length, expected) in [
        (0, 8),
        (7, 8),
        (8, header),
        (header - 1, header),
        (header, bytes.len()),
        (bytes.len() - 1, bytes.len()),
    ] {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = Checkpoint::read(&path).unwrap_err();
        let (found, expected) = (length as u64, expected as u64);
        assert_eq!(error, CheckpointError::Truncated { path: path.clone(), found, expected });
    }
}

#[test]
fn other_files_are_no_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other");
    let plain = {
        let bytes = [0u8; 4];
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &bytes);
        safetensors::serialize([("weight", view.unwrap())], None).unwrap()
    };
    let (_guard, checkpoint, _) = written();
    let mut longer = fs::read(checkpoint).unwrap();
    longer.push(0);
    let files: [&[u8]; 5] = [
        b"PK\x03\x04 a pickle of PyTorch in a zip archive",
        b"just some text, long enough to hold a header",
        &[0u8; 64],
        &plain,
        &longer,
    ];
    for bytes in files {
        fs::write(&path, bytes).unwrap();
        let error = Checkpoint::read(&path).unwrap_err();
        assert!(matches!(error, CheckpointError::NotACheckpoint { .. }), "{error}");
        assert!(!error.to_string().contains('\n'));
    }
    let error = Checkpoint::read(&path).unwrap_err().to_string();
    assert!(error.ends_with("it has 1 bytes after its last tensor"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_an_io_error() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("absent"), folder.path().to_owned()] {
        let error = Checkpoint::read(&path).unwrap_err();
        assert!(matches!(error, CheckpointError::Io { action: "read", .. }), "{error}");
    }
    let path = folder.path().join("absent").join("model.safetensors");
    let error = Checkpoint::new(fixture::content()).unwrap().write(&path).unwrap_err();
    assert!(matches!(error, CheckpointError::Io { action: "written", .. }), "{error}");
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
fn concurrent_writers_leave_one_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let checkpoints: Vec<Checkpoint> = (0..4)
        .map(|seed| {
            let mut content = fixture::content();
            content.training.seed = seed;
            Checkpoint::new(content).unwrap()
        })
        .collect();
    std::thread::scope(|scope| {
        for checkpoint in &checkpoints {
            scope.spawn(|| (0..5).for_each(|_| checkpoint.write(&path).unwrap()));
        }
        scope.spawn(|| {
            // Whoever reads in the meantime sees a whole file or none.
            for _ in 0..10 {
                match Checkpoint::read(&path) {
                    Ok(read) => assert!(checkpoints.contains(&read)),
                    Err(error) => assert!(matches!(error, CheckpointError::Io { .. }), "{error}"),
                }
            }
        });
    });
    assert!(checkpoints.contains(&Checkpoint::read(&path).unwrap()));
    assert_eq!(names(folder.path()), ["model.safetensors"]);
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let (folder, path, checkpoint) = written();
    let blocked = folder.path().join("folder");
    fs::create_dir(&blocked).unwrap();
    let error = checkpoint.write(&blocked).unwrap_err();
    assert!(matches!(error, CheckpointError::Io { action: "written", .. }), "{error}");
    assert_eq!(Checkpoint::read(&path).unwrap(), checkpoint);
    let mut found = names(folder.path());
    found.sort();
    assert_eq!(found, ["folder", "model.safetensors"]);
}
