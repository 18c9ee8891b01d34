use std::collections::BTreeSet;

use protoguard_core::normalise::FrameScore;
use protoguard_core::{Baselines, ClipMaps, ClipShape, Frame, Plane, PsnrDb, Recipe, Statistics};
use protoguard_datasets::DecodedVideo;
use protoguard_datasets::anomalies::InsertedKind;

use super::*;
use crate::evaluate::{Score, ThresholdOrigin};
use crate::scoring::ScoredVideo;

const SIDE: usize = 64;

/// A textured place through which two blocks walk, there and back.
fn walked(name: &str, frames: usize) -> DecodedVideo {
    let frame = |at: usize| {
        let mut pixels = vec![0u8; SIDE * SIDE * 3];
        for (cell, pixel) in pixels.chunks_exact_mut(3).enumerate() {
            pixel.fill((90 + cell % 7 * 4 + cell / SIDE % 5 * 3) as u8);
        }
        for (row, offset) in [(10, 0), (40, 30)] {
            let step = (at + offset) % 100;
            let x = if step < 50 { step } else { 100 - step };
            for y in row..row + 12 {
                pixels[(y * SIDE + x) * 3..(y * SIDE + x + 8) * 3].fill(220);
            }
        }
        Frame::new(SIDE, SIDE, pixels).unwrap()
    };
    DecodedVideo::in_memory(name, None, (0..frames).map(frame).collect())
}

#[test]
fn every_kind_is_put_in_and_a_seed_decides_how() {
    let normal = [walked("01", 150), walked("02", 150)];
    let set = InsertedSet::make(&normal, 3).unwrap();
    // Two stretches of five kinds each.
    assert_eq!(set.videos.len() + set.skipped.len(), 10, "{:?}", set.skipped);
    assert!(set.videos.len() >= 6, "{:?}", set.skipped);
    for made in &set.videos {
        assert_eq!((made.video.len(), made.labels.len()), (150, 150));
        assert!(made.labels.contains(&true) && made.labels.contains(&false));
    }
    let names: BTreeSet<&str> = set.videos.iter().map(|made| made.video.name.as_str()).collect();
    assert_eq!(names.len(), set.videos.len(), "a kind twice in one stretch: {names:?}");
    let again = InsertedSet::make(&normal, 3).unwrap();
    let labels = |set: &InsertedSet| -> Vec<Vec<bool>> {
        set.videos.iter().map(|made| made.labels.clone()).collect()
    };
    assert_eq!(labels(&set), labels(&again));
    assert_ne!(labels(&set), labels(&InsertedSet::make(&normal, 4).unwrap()));
}

#[test]
fn what_is_foreign_comes_from_the_next_video() {
    let foreign = |next: DecodedVideo| {
        let set = InsertedSet::make(&[walked("01", 150), next], 3).unwrap();
        let is_foreign = |made: &&InsertedVideo| made.video.name == "01, foreign patch";
        let made = set.videos.iter().find(is_foreign).unwrap().video.clone();
        (0..made.len()).map(|at| made.frame(at).unwrap().unwrap()).collect::<Vec<Frame>>()
    };
    assert_ne!(foreign(walked("02", 150)), foreign(darkened(walked("02", 150))));
}

/// The same video with half the light.
fn darkened(video: DecodedVideo) -> DecodedVideo {
    let frame = |at: usize| {
        let frame = video.frame(at).unwrap().unwrap();
        Frame::new(SIDE, SIDE, frame.pixels().iter().map(|value| value / 2).collect::<Vec<u8>>())
            .unwrap()
    };
    DecodedVideo::in_memory(&video.name, None, (0..video.len()).map(frame).collect())
}

#[test]
fn held_out_frames_are_those_of_the_record() {
    let mut hall = walked("01", 60);
    hall.scene = Some("hall".to_owned());
    let videos = [walked("01", 50), walked("02", 70), hall];
    let of = |name: &str, scene: Option<&str>, first_frame, frames| {
        let (video, scene) = (name.to_owned(), scene.map(str::to_owned));
        let part = HeldOut { video, scene, first_frame, frames };
        held_out(&videos, &TrainingRecord { held_out: vec![part], ..TrainingRecord::default() })
    };
    let found = of("01", Some("hall"), 40, 20).unwrap();
    assert_eq!((found[0].len(), found[0].scene.as_deref()), (20, Some("hall")));
    assert_eq!(found[0].frame(0).unwrap(), videos[2].frame(40).unwrap());
    let found = of("02", None, 3, 9).unwrap();
    assert_eq!((found[0].len(), found[0].name.as_str()), (9, "02"));
    for (name, scene, first_frame) in
        [("01", Some("hall"), 41), ("02", Some("hall"), 0), ("03", None, 0)]
    {
        let error = of(name, scene, first_frame, 20).unwrap_err().to_string();
        assert!(error.contains(&format!("of video \"{name}\"")), "{error}");
    }
    let error = held_out(&videos, &TrainingRecord::default()).unwrap_err().to_string();
    assert!(error.contains("pass --all"), "{error}");
}

#[test]
fn long_video_is_cut_and_takes_one_event_a_stretch() {
    let set = InsertedSet::make(&[walked("01", 2050)], 0).unwrap();
    assert_eq!(set.videos.len() + set.skipped.len(), 10);
    assert!(set.videos.iter().all(|made| (204..=206).contains(&made.video.len())));
    let events = |made: &InsertedVideo| {
        made.labels.chunk_by(|one, next| one == next).filter(|run| run[0]).count()
    };
    assert!(set.videos.iter().all(|made| events(made) == 1));
}

#[test]
fn video_without_motion_is_refused_with_the_reason() {
    let still = vec![Frame::new(SIDE, SIDE, vec![90; SIDE * SIDE * 3]).unwrap(); 20];
    let still = DecodedVideo::in_memory("still", None, still);
    let error = InsertedSet::make(&[still], 0).unwrap_err().to_string();
    assert!(error.contains("still: the video has 20 frames"), "{error}");
    let error = InsertedSet::make(&[], 0).unwrap_err().to_string();
    assert!(error.ends_with("there is no video"), "{error}");
}

/// A video of 40 scored frames whose last ten show the kind, with this error there.
fn scored(kind: InsertedKind, odd: f32) -> (ScoredVideo, InsertedVideo) {
    let maps = |frame: usize| {
        let flicker = 1.0 + 0.3 * ((frame * 37 % 101) as f32 / 101.0);
        let error = if frame < 30 { 0.001 } else { odd };
        let plane = |value: f32| Plane {
            height: 4,
            width: 4,
            channels: 1,
            values: vec![value * flicker; 16].into(),
        };
        ClipMaps {
            error: plane(error),
            moved: plane(0.02),
            speed: plane(0.1),
            feature_distance: None,
        }
    };
    let psnr = PsnrDb(20.0);
    let labels: Vec<bool> = (0..44).map(|frame| frame >= 34).collect();
    let scored = ScoredVideo {
        name: kind.to_string(),
        scene: None,
        first_frame: 4,
        scores: vec![FrameScore { psnr, feature_distance: None }; 40],
        regions: Vec::new(),
        statistics: (0..40).map(|frame| Statistics::of(&maps(frame))).collect(),
        relative_errors: Vec::new(),
        baselines: vec![
            Baselines { copy_frame: psnr, copy_frame_box: psnr, extrapolation: None };
            40
        ],
    };
    (scored, InsertedVideo { kind, video: walked("01", 44), labels })
}

#[test]
fn a_kind_is_told_from_all_normal_frames() {
    // One kind is plain to see, the other not at all: its frames are as the normal ones.
    let made = [scored(InsertedKind::SpedUp, 0.1), scored(InsertedKind::Stopped, 0.001)];
    let (videos, inserted): (Vec<ScoredVideo>, Vec<InsertedVideo>) = made.into_iter().unzip();
    let set = InsertedSet { videos: inserted, skipped: Vec::new() };
    let normal: Vec<Statistics> = videos[1].statistics.clone();
    let detector = Recipe::default().calibrate(&[&normal, &normal], &[]).unwrap();
    let held_out = videos[1].scores.clone();
    let calibration = protoguard_core::Calibration::from_held_out(None, &held_out, 0.6).unwrap();
    let measured = Measured {
        videos: &videos,
        labels: &set.scored_labels(ClipShape::new(4, SIDE).unwrap()),
        calibrations: &[calibration.with_detector(detector)],
        beside: &Beside::default(),
    };
    let report = ValidationReport::new(&measured, &set).unwrap();
    assert_eq!((report.frames, report.abnormal), (80, 20));
    let largest = &report.scores[Score::Part(protoguard_core::Part::LargestError).name()];
    let [plain, hidden] = [InsertedKind::SpedUp, InsertedKind::Stopped].map(|k| largest.kinds[&k]);
    assert_eq!((plain.auc_global, plain.tpr), (1.0, 1.0));
    assert!(hidden.auc_global < 0.7 && hidden.tpr < 0.2, "{hidden:?}");
    assert_eq!(largest.all.tpr, (plain.tpr + hidden.tpr) / 2.0);
    assert!(!largest.kinds.contains_key(&InsertedKind::Reversed));
    assert_eq!(report.tpr, Some(report.scores["served"].all.tpr));
    let text = ValidationTable(&report).to_string();
    assert!(text.contains("2 anomalies put in") && text.contains("part: largest error"), "{text}");
    // A star where there was no bound of held-out frames, and what it stands for.
    let starred = |title: &str| text.lines().any(|at| at.starts_with(title) && at.ends_with('*'));
    assert!(starred("no model: copy frame"), "{text}");
    assert!(!starred("part: largest error"), "{text}");
    assert!(text.contains("* above 1 % of these normal frames instead"), "{text}");
    let mut bounded = report.clone();
    bounded.scores.retain(|_, found| found.threshold_from != ThresholdOrigin::TestFrames);
    let text = ValidationTable(&bounded).to_string();
    assert!(!text.contains('*') && text.contains("part: largest error"), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["scores"]["largest_error"]["kinds"]["sped_up"]["auc_global"], 1.0);
}
