use protoguard_core::normalise::{FrameScore, Grouping};
use protoguard_core::{Calibration, FeatureDistance, PsnrDb};

use super::*;

/// Two videos of 40 frames; the model sees the abnormal ones, the baseline guesses.
fn videos() -> (Vec<ScoredVideo>, Vec<Vec<bool>>) {
    let labels: Vec<bool> = (0..40).map(|frame| frame >= 30).collect();
    let video = |name: &str| ScoredVideo {
        name: name.to_owned(),
        scene: None,
        first_frame: 4,
        scores: (0..40).map(|frame| score(frame, frame >= 30)).collect(),
        copy_frame: (0..40).map(|frame| PsnrDb(20.0 + f64::from(frame % 2))).collect(),
    };
    (vec![video("01"), video("02")], vec![labels.clone(), labels])
}

fn score(frame: i32, abnormal: bool) -> FrameScore {
    let psnr = if abnormal { 25.0 } else { 35.0 } + f64::from(frame) * 0.01;
    let distance = if abnormal { 0.8 } else { 0.2 } + f64::from(frame) * 0.001;
    FrameScore { psnr: PsnrDb(psnr), feature_distance: Some(FeatureDistance(distance)) }
}

fn subject() -> Subject {
    Subject {
        model_version: "0123456789ab".to_owned(),
        data: "scenes".to_owned(),
        labels: "frame_labels.npy".to_owned(),
        labels_sha256: String::new(),
        videos: 2,
        frames: 88,
        frames_scored: 80,
        abnormal: 20,
    }
}

#[test]
fn a_report_has_every_number_beside_the_baseline() {
    let (videos, labels) = videos();
    let normal: Vec<FrameScore> = (0..100).map(|frame| score(frame % 30, false)).collect();
    let calibrations = [Calibration::from_held_out(None, &normal, 0.6).unwrap()];
    let measured = Measured { videos: &videos, labels: &labels, calibrations: &calibrations };
    let mut counts = [0.0; 100];
    counts[..7].fill(3.0);
    let memory = Some(MemoryUse::new(&counts, 12.0, 0.9));
    let report = EvalReport::new(&measured, subject(), memory).unwrap();
    for grouping in [Grouping::Video, Grouping::Scene, Grouping::Dataset, Grouping::Calibrated] {
        assert_eq!(report.get(grouping, Signal::Combined).unwrap().auc, 1.0, "{grouping:?}");
    }
    let baseline = report.get(Grouping::Video, Signal::CopyFrame).unwrap();
    assert!((baseline.auc - 0.5).abs() < 0.05, "{}", baseline.auc);
    assert!(report.get(Grouping::Calibrated, Signal::CopyFrame).is_none());
    assert_eq!(report.thresholds.len(), 2);
    assert_eq!(report.thresholds[0].found.true_positive_rate, 1.0);
    assert_eq!(report.videos[1].abnormal, 10);
    let text = Table(&report).to_string();
    for expected in ["copy frame", "calibrated", "7 of 100 items", "2 videos, 80 of 88 frames"] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["metrics"]["video"]["combined"]["auc"], 1.0);
}

#[test]
fn one_class_is_an_error() {
    let (videos, _) = videos();
    let labels = vec![vec![true; 40]; 2];
    let measured = Measured { videos: &videos, labels: &labels, calibrations: &[] };
    let error = EvalReport::new(&measured, subject(), None).unwrap_err().to_string();
    assert!(error.starts_with("all 80 frames are abnormal"), "{error}");
}

#[test]
fn frame_lines_are_zero_based_targets() {
    let (videos, labels) = videos();
    let measured = Measured { videos: &videos, labels: &labels, calibrations: &[] };
    let lines = frame_lines(&measured).unwrap();
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((first["video"].as_str(), first["frame"].as_u64()), (Some("01"), Some(4)));
    assert_eq!(lines.lines().count(), 80);
    assert!(first["regularity"].is_null());
}
