//! Drawn data sets: whole or absent, and read back as they were drawn.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;

use protoguard_core::ClipShape;
use protoguard_datasets::synth::{SynthError, write_dataset};
use protoguard_datasets::{
    Dataset, LoadOptions, find_labels, load, testing_videos, training_videos,
};
use protoguard_frames::files::Video;
use protoguard_frames::labels::Labels;
use protoguard_frames::scenes::{Scene, SynthConfig};

fn small() -> SynthConfig {
    SynthConfig {
        seed: 5,
        training_videos: 2,
        testing_videos: 3,
        frames_per_video: 60,
        height: 48,
        width: 64,
    }
}

#[test]
fn a_data_set_is_written_whole_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deep/set");
    let written = write_dataset(&small(), &root).unwrap();
    assert_eq!((written.training_frames, written.testing_frames), (120, 180));
    let shape = ClipShape::new(4, 32).unwrap();
    assert_eq!(Dataset::open(&root, None).unwrap().frames_per_second(), Some(10.0));
    let testing = testing_videos(&root).unwrap();
    assert_eq!(testing.len(), 3);
    let labels = Labels::read(&find_labels(&root).unwrap(), &[60; 3]).unwrap();
    assert_eq!(labels.positives(), written.anomalous_frames);
    let span = Scene::testing(&small(), 2).anomaly().unwrap();
    assert!((0..60).all(|frame| labels.video(2)[frame] == span.contains(frame)));
    let training = training_videos(&root).unwrap();
    assert_eq!(training.iter().map(Video::known_frames).collect::<Vec<_>>(), [Some(60); 2]);
    assert!(load(&training, &LoadOptions::in_memory(shape), |_| ()).is_ok());
    let description = fs::read_to_string(root.join("synth.json")).unwrap();
    assert!(description.contains("\"kind\": \"cart\""), "{description}");
    let beside: Vec<_> = fs::read_dir(folder.path().join("deep")).unwrap().collect();
    assert_eq!(beside.len(), 1);
}

#[test]
fn a_folder_in_use_is_refused_and_an_empty_one_taken() {
    let folder = tempfile::tempdir().unwrap();
    let config = SynthConfig { training_videos: 1, testing_videos: 1, ..small() };
    let root = folder.path().join("set");
    fs::create_dir(&root).unwrap();
    write_dataset(&config, &root).unwrap();
    let error = write_dataset(&config, &root).unwrap_err();
    assert!(matches!(error, SynthError::Exists { .. }), "{error}");
    let error = write_dataset(&SynthConfig { height: 8, ..config }, &root).unwrap_err();
    assert_eq!(error.to_string(), "height is 8; at least 32 is needed");
}
