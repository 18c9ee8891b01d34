//! The reports of an evaluation, of numbers that were made up.

use protoguard_checkpoint::TrainingRecord;
use protoguard_core::normalise::{FrameScore, Grouping};
use protoguard_core::{
    AlarmFrequency, Baselines, Calibration, Clip, ClipMaps, ClipScore, ClipShape, Detector,
    FeatureDistance, Frame, Mask, Part, Plane, PsnrDb, Recipe, Statistics,
};

use super::*;
use crate::scoring::ScoredVideo;

/// Two videos of 40 frames; the model sees the abnormal ones, the baseline guesses.
fn videos() -> (Vec<ScoredVideo>, Vec<Vec<bool>>) {
    let labels: Vec<bool> = (0..40).map(|frame| frame >= 30).collect();
    let video = |name: &str| ScoredVideo {
        name: name.to_owned(),
        scene: None,
        first_frame: 4,
        scores: (0..40).map(|frame| score(frame, frame >= 30)).collect(),
        regions: Vec::new(),
        statistics: (0..40).map(|frame| statistics(frame, frame >= 30)).collect(),
        relative_errors: (0..40).map(|frame| maps(frame, frame >= 30).relative_error()).collect(),
        baselines: (0..40).map(baselines).collect(),
    };
    (vec![video("01"), video("02")], vec![labels.clone(), labels])
}

fn score(frame: i32, abnormal: bool) -> FrameScore {
    let psnr = if abnormal { 25.0 } else { 35.0 } + f64::from(frame) * 0.01;
    let distance = if abnormal { 0.8 } else { 0.2 } + f64::from(frame) * 0.001;
    FrameScore { psnr: PsnrDb(psnr), feature_distance: Some(FeatureDistance(distance)) }
}

fn baselines(frame: i32) -> Baselines {
    let psnr = PsnrDb(20.0 + f64::from(frame % 2));
    Baselines { copy_frame: psnr, copy_frame_box: psnr, extrapolation: Some(psnr) }
}

/// An abnormal frame has a large error in the upper left quarter; all else flickers a little.
fn maps(frame: i32, abnormal: bool) -> ClipMaps {
    let flicker = 1.0 + 0.3 * ((frame * 37 % 101) as f32 / 101.0);
    let plane = |value: f32, odd: f32| {
        let odd = if abnormal { odd } else { value };
        let of = |cell: usize| if cell / 8 < 4 && cell % 8 < 4 { odd } else { value };
        let values = (0..64).map(|cell| flicker * of(cell)).collect();
        Plane { height: 8, width: 8, channels: 1, values }
    };
    ClipMaps {
        error: plane(0.001, 0.05),
        moved: plane(0.02, 0.02),
        speed: plane(0.1, 1.0),
        feature_distance: None,
    }
}

fn statistics(frame: i32, abnormal: bool) -> Statistics {
    Statistics::of(&maps(frame, abnormal))
}

/// A checkpoint's calibration with its detector, from normal frames like those of [`videos`].
fn calibrated() -> Calibration {
    let normal: Vec<FrameScore> = (0..100).map(|frame| score(frame % 30, false)).collect();
    let frames: Vec<Statistics> = (0..300).map(|frame| statistics(frame, false)).collect();
    let detector = Recipe::default().calibrate(&[&frames], &[]).unwrap();
    Calibration::from_held_out(None, &normal, 0.6).unwrap().with_detector(detector)
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
        frame_interval: Some(100.0.try_into().unwrap()),
    }
}

#[test]
fn a_report_has_every_number_beside_the_baseline() {
    let (videos, labels) = videos();
    let normal: Vec<FrameScore> = (0..100).map(|frame| score(frame % 30, false)).collect();
    let calibrations = [Calibration::from_held_out(None, &normal, 0.6).unwrap()];
    let beside = Beside::default();
    let measured =
        Measured { videos: &videos, labels: &labels, calibrations: &calibrations, beside: &beside };
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
    let beside = Beside::default();
    let measured =
        Measured { videos: &videos, labels: &labels, calibrations: &[], beside: &beside };
    let error = EvalReport::new(&measured, subject(), None).unwrap_err().to_string();
    assert!(error.starts_with("all 80 frames are abnormal"), "{error}");
}

#[test]
fn frame_lines_are_zero_based_targets() {
    let (videos, labels) = videos();
    let beside = Beside::default();
    let measured =
        Measured { videos: &videos, labels: &labels, calibrations: &[], beside: &beside };
    let lines = frame_lines(&measured).unwrap();
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((first["video"].as_str(), first["frame"].as_u64()), (Some("01"), Some(4)));
    assert_eq!(lines.lines().count(), 80);
    assert!(first["regularity"].is_null());
}

/// A frame of video `<b>` whose pictures are all of one colour.
fn close_up(differences: usize) -> CloseUp {
    let shape = ClipShape::new(4, 16).unwrap();
    let frame = |value: u8| Frame::new(16, 16, vec![value; 768]).unwrap();
    let plane = |channels: usize, value: f32| Plane {
        height: 16,
        width: 16,
        channels,
        values: vec![value; 256 * channels].into(),
    };
    CloseUp {
        frame: ChosenFrame { video: 0, position: 3, anomaly: 0.75, abnormal: true },
        clip: Clip::new(shape, [1, 2, 3, 4, 200].map(frame).to_vec()).unwrap(),
        score: ClipScore {
            psnr: Some(PsnrDb(25.0)),
            maps: None,
            feature_distance: None,
            predicted_frame: Some(plane(3, 0.5)),
            rgb_difference: vec![plane(3, -0.5); differences],
            error_map: Some(plane(1, 0.04)),
        },
    }
}

#[test]
fn the_page_holds_everything_and_loads_nothing() {
    let (mut videos, labels) = videos();
    videos[0].name = "<b>&\"".to_owned();
    let normal: Vec<FrameScore> = (0..100).map(|frame| score(frame % 30, false)).collect();
    let calibrations = [Calibration::from_held_out(None, &normal, 0.6).unwrap()];
    let beside = Beside::default();
    let measured =
        Measured { videos: &videos, labels: &labels, calibrations: &calibrations, beside: &beside };
    let memory = Some(MemoryUse::new(&[9.0, 0.0, 1.0], 1.5, 0.9));
    let mut report = EvalReport::new(&measured, subject(), memory).unwrap();
    report.warnings.push("a warning".to_owned());
    let config = serde_json::json!({"training": {"seed": 7, "device": "cpu"}});
    let training = TrainingRecord { config, ..TrainingRecord::default() };
    let close_ups = CloseUps {
        anomalous: vec![close_up(4)],
        false_alarms: vec![close_up(0)],
        misses: Vec::new(),
    };
    let page =
        Page { report: &report, measured: &measured, training: &training, close_ups: &close_ups };
    let page = page.render();
    for expected in [
        "<!DOCTYPE html>",
        "AUC of copying the last frame, by video",
        "At the calibrated thresholds",
        "aria-label=\"ROC curves\"",
        "aria-label=\"anomaly score of video 02\"",
        "Video &lt;b&gt;&amp;",
        "items in use",
        "2 of 3",
        "training.seed",
        "There are none.",
        "a warning",
    ] {
        assert!(page.contains(expected), "{expected:?} is not in the page");
    }
    // The model without motion decoder gives one strip of differences, the other two.
    assert_eq!(page.matches("src=\"data:image/jpeg;base64,").count(), 2 * 4 + 2 + 1);
    for foreign in ["<script", "http:", "https:", "<link", "@import", "<b>&\""] {
        assert!(!page.contains(foreign), "{foreign:?} is in the page");
    }
}

#[test]
fn chosen_frames_are_the_worst_of_each_kind() {
    let (mut videos, labels) = videos();
    // A normal frame that looks abnormal, and an abnormal one that looks normal.
    videos[1].scores[5] = score(5, true);
    videos[0].scores[39] = score(39, false);
    let beside = Beside::default();
    let measured =
        Measured { videos: &videos, labels: &labels, calibrations: &[], beside: &beside };
    let chosen = Chosen::of(&measured);
    let place = |frame: &ChosenFrame| [frame.video, frame.position];
    assert_eq!(place(&chosen.false_alarms[0]), [1, 5]);
    assert_eq!(place(&chosen.misses[0]), [0, 39]);
    assert!(chosen.false_alarms.iter().all(|frame| !frame.abnormal));
    assert!(chosen.misses.iter().all(|frame| frame.abnormal));
    assert!(chosen.anomalous.is_sorted_by(|a, b| a.anomaly >= b.anomaly));
    assert!(chosen.anomalous[0].anomaly > chosen.misses[0].anomaly);
}

#[test]
fn a_scene_is_judged_by_its_own_threshold() {
    let (mut videos, labels) = videos();
    videos[1].scene = Some("hall".to_owned());
    let normal: Vec<FrameScore> = (0..100).map(|frame| score(frame % 30, false)).collect();
    // In the hall even what looks abnormal elsewhere is normal.
    let hall: Vec<FrameScore> = (0..400).map(|frame| score(frame % 200, frame % 2 == 0)).collect();
    let calibrations = [
        Calibration::from_held_out(None, &normal, 0.6).unwrap(),
        Calibration::from_held_out(Some("hall"), &hall, 0.6).unwrap(),
    ];
    let beside = Beside::default();
    let measured =
        Measured { videos: &videos, labels: &labels, calibrations: &calibrations, beside: &beside };
    let (first, second) = (measured.threshold(0, 0.01), measured.threshold(1, 0.01));
    assert_eq!(first, calibrations[0].threshold(0.01).map(|t| t.regularity.anomaly().0));
    assert_eq!(second, calibrations[1].threshold(0.01).map(|t| t.regularity.anomaly().0));
    let report = EvalReport::new(&measured, subject(), None).unwrap();
    assert_eq!(report.thresholds[0].found.true_positive_rate, 0.5);
}

/// The alarm, and what there is to compare it with, where everything can be counted by hand.
mod live {
    use super::*;

    fn report(calibrations: &[Calibration], beside: &Beside) -> EvalReport {
        let (videos, labels) = videos();
        let measured = Measured { videos: &videos, labels: &labels, calibrations, beside };
        EvalReport::new(&measured, subject(), None).unwrap()
    }

    /// The upper left quarter of every abnormal frame.
    fn masks() -> Vec<Option<Vec<Mask>>> {
        let mask = |frame| Mask::from_fn(16, 16, move |y, x| frame >= 30 && y < 8 && x < 8);
        vec![Some((0..40).map(mask).collect()), None]
    }

    #[test]
    fn the_alarm_finds_both_events_and_says_how_late() {
        let beside = Beside { masks: masks(), frames_per_second: Some(10.0) };
        let live = report(&[calibrated()], &beside).live;
        let served = live.row(Score::Served).unwrap();
        assert_eq!((served.auc_video, served.auc_global), (1.0, Some(1.0)));
        assert_eq!(served.auc_global_interval.unwrap().low, 1.0);
        let rates = served.rates.unwrap();
        assert_eq!(rates.threshold_from, ThresholdOrigin::HeldOut);
        assert!(rates.found.true_positive_rate > 0.8, "{rates:?}");
        let alarm = live.alarm.unwrap();
        assert_eq!((alarm.events.found(), alarm.events.missed()), (2, 0));
        assert_eq!((alarm.rule.threshold, alarm.events.normal_frames), (2.0, 60));
        assert!(
            alarm.events.events.iter().all(|event| (event.first_frame, event.frames) == (30, 10))
        );
        // 60 normal frames at 10 a second.
        assert!((live.false_alarm_rate.unwrap().normal_minutes - 0.1).abs() < 1e-12);
        // One video has masks: 10 frames of one region each, which is where the error is.
        let regions = live.regions.unwrap();
        assert_eq!((regions.regions, regions.tracks, regions.frames), (10, 1, 40));
        assert_eq!((regions.rbdc, regions.tbdc), (1.0, 1.0));
        assert!(regions.pixel_auc > 0.99, "{regions:?}");
    }

    #[test]
    fn an_alarm_for_fewer_false_alarms_an_hour_has_a_higher_threshold() {
        let beside = Beside { masks: masks(), frames_per_second: Some(10.0) };
        let detector = || calibrated().detector.unwrap();
        let counted = |per_unusual_frame| {
            let alarms = Some(AlarmFrequency { per_unusual_frame, alarms: 20, frames: 108_000 });
            calibrated().with_detector(Detector { alarms, ..detector() })
        };
        let promises = report(&[counted(0.05)], &beside).live.promises;
        let asked: Vec<f64> = promises.iter().map(|it| it.alarms_an_hour).collect();
        assert_eq!(asked, [60.0, 10.0, 1.0, 0.1]);
        // 36 000 frames an hour, a twentieth of the unusual ones an alarm: 1800 / 60 is 30.
        for (promise, one_in) in promises.iter().zip([30f64, 180.0, 1800.0, 18_000.0]) {
            assert!((promise.threshold - one_in.log10()).abs() < 1e-9, "{promise:?}");
            assert_eq!((promise.events_found, promise.events), (2, 2), "{promise:?}");
            assert!((promise.found.unwrap().normal_minutes - 0.1).abs() < 1e-12);
            // Three hours of normal video say nothing of less than one an hour.
            assert_eq!(promise.extrapolated, promise.alarms_an_hour < 1.0, "{promise:?}");
        }
        // So rare an alarm is raised by nothing.
        let blind = report(&[counted(1e200)], &beside).live.promises;
        assert!(blind.iter().all(|it| (it.events_found, it.false_alarms) == (0, 0)), "{blind:?}");
        assert!(report(&[counted(0.05)], &Beside::default()).live.promises.is_empty());
        let uncounted = calibrated().with_detector(Detector { alarms: None, ..detector() });
        assert!(report(&[uncounted], &beside).live.promises.is_empty());
    }

    #[test]
    fn every_part_and_baseline_has_a_row_with_the_origin_of_its_threshold() {
        let live = report(&[calibrated()], &Beside::default()).live;
        let origin = |score| live.row(score).unwrap().rates.unwrap().threshold_from;
        for score in [Score::Paper, Score::Instant, Score::Part(Part::Speed)] {
            assert_eq!(origin(score), ThresholdOrigin::HeldOut, "{score:?}");
        }
        for score in [Score::Psnr, Score::CopyFrame, Score::Motion] {
            assert_eq!(origin(score), ThresholdOrigin::TestFrames, "{score:?}");
        }
        // The baselines here alternate between two values, whatever the label.
        assert_eq!(live.row(Score::CopyFrame).unwrap().auc_global, Some(0.5));
        let paper = live.row(Score::Paper).unwrap();
        assert_eq!(paper.auc_video, 1.0);
        assert_eq!(live.row(Score::Part(Part::LargestError)).unwrap().auc_global, Some(1.0));
        // The model has no such map.
        assert!(live.row(Score::Part(Part::FeatureDistance)).is_none());
        assert!(live.regions.is_none() && live.false_alarm_rate.is_none());
    }

    #[test]
    fn the_last_line_is_null_where_there_is_nothing() {
        let training = TrainingRecord { seed: 7, ..TrainingRecord::default() };
        let line = |report: &EvalReport| {
            serde_json::to_value(SummaryLine::new(report, &training)).unwrap()
        };
        let without = line(&report(&[], &Beside::default()));
        for field in ["auc_global_served", "tpr", "fpr", "events", "false_events", "rbdc"] {
            assert!(without[field].is_null(), "{field}: {without}");
        }
        assert_eq!((&without["auc_video_paper"], &without["seed"]), (&1.0.into(), &7.into()));
        assert_eq!(without["auc_global_copy_frame"], 0.5);
        assert!(without["motion_loss_vs_zero"].is_null());
        let with = line(&report(&[calibrated()], &Beside::default()));
        assert_eq!((&with["events"], &with["events_found"]), (&2.into(), &2.into()));
        assert_eq!(with["auc_feature_distance"], 1.0);
    }

    #[test]
    fn the_table_and_the_page_show_it() {
        let (videos, labels) = videos();
        let beside = Beside { masks: masks(), frames_per_second: Some(10.0) };
        let calibrations = [calibrated()];
        let measured = Measured {
            videos: &videos,
            labels: &labels,
            calibrations: &calibrations,
            beside: &beside,
        };
        let report = EvalReport::new(&measured, subject(), None).unwrap();
        let text = Table(&report).to_string();
        for expected in
            ["served, smoothed: the alarm", "2 of 2 events found", "RBDC 1.0000", "0.1 an hour+"]
        {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 90), "{text}");
        let page = Page {
            report: &report,
            measured: &measured,
            training: &TrainingRecord::default(),
            close_ups: &CloseUps::default(),
        };
        let page = page.render();
        for expected in ["The live alarm", "2 of 2", "aria-label=\"smoothed surprise of video 02\""]
        {
            assert!(page.contains(expected), "{expected:?} is not in the page");
        }
    }
}
