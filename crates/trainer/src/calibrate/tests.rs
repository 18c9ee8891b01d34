use std::path::PathBuf;

use clap::Parser;
use protoguard_core::{CameraBounds, ClipMaps, ClipScore, Frame, Plane, ScorerError, ScorerInput};
use protoguard_datasets::synth::write_dataset;
use protoguard_frames::scenes::SynthConfig;
use protoguard_model::{DeviceSpec, StepLosses};

use super::accepted::AlarmsError;
use super::normal::spread;
use super::*;
use crate::cli::{Cli, Command};
use crate::train::{self, EpochRecord, Finished, Learner, MeanLosses, TrainingData};

/// Says of a clip that its target's first pixel is all its error and all its speed.
struct FirstPixel;

impl Scorer for FirstPixel {
    fn score(&mut self, batch: &[ScorerInput]) -> Result<Vec<ClipScore>, ScorerError> {
        let one = |input: &ScorerInput| {
            let value = f32::from(input.clip.target().unwrap().pixels()[0]) / 255.0;
            let plane =
                |value| Plane { height: 2, width: 2, channels: 1, values: [value; 4].into() };
            let maps = ClipMaps {
                error: plane(value),
                moved: plane(0.1),
                speed: plane(value),
                feature_distance: None,
            };
            let psnr = input.clip.copy_frame_psnr();
            ClipScore { psnr, maps: Some(maps), ..ClipScore::default() }
        };
        Ok(batch.iter().map(one).collect())
    }
}

#[test]
fn a_scene_with_enough_clips_gets_a_calibration_of_its_own() {
    let shape = ClipShape::new(2, 16).unwrap();
    let frame = |at: usize| Frame::new(16, 16, vec![(at * 37 % 101) as u8; 768]).unwrap();
    let video = |scene: &str, clips: usize| {
        let frames = (0..clips + shape.past_frames()).map(frame).collect();
        DecodedVideo::in_memory("01", Some(scene), frames)
    };
    let enough = Recipe::MIN_CLIPS;
    let videos = [video("gate", enough), video("hall", enough - 1), video("yard", enough + 1)];
    let options = CalibrationOptions {
        gamma: GAMMA,
        detector: Recipe::default(),
        zones: None,
        batch_size: 8,
        interrupt: None,
    };
    let normal = NormalVideo { held_out: &videos, learnt: &[] };
    let found = calibrate(&mut FirstPixel, normal, shape, &options).unwrap();
    let scenes: Vec<Option<&str>> = found.iter().map(|one| one.scene.as_deref()).collect();
    assert_eq!(scenes, [None, Some("gate"), Some("yard")]);
    let frames: Vec<usize> = found.iter().map(|one| one.frames).collect();
    assert_eq!(frames, [3 * enough, enough, enough + 1]);
    assert!(found.iter().all(|one| one.detector.is_some()));
    // Learnt video counts where its scene is.
    let learnt = [video("gate", 90), video("attic", 20)];
    let normal = NormalVideo { learnt: &learnt, ..normal };
    let beside = calibrate(&mut FirstPixel, normal, shape, &options).unwrap();
    let as_before = |index: usize| beside[index].detector == found[index].detector;
    assert_eq!([0, 1, 2].map(as_before), [false, false, true]);
    assert_eq!(beside.iter().map(|one| one.frames).collect::<Vec<_>>(), frames);
}

/// A folder with the checkpoint of an untrained network, calibrated on what it holds out of 60
/// frames by each of two cameras, and that video and others'.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, seed, training_videos) in [("normal", 0, 2), ("more", 1, 4)] {
            let scenes = SynthConfig {
                seed,
                training_videos,
                testing_videos: 1,
                frames_per_video: 60,
                height: 32,
                width: 32,
            };
            write_dataset(&scenes, &folder.at(name)).unwrap();
        }
        let mut config = TrainerConfig::default();
        config.model.shape = ClipShape::new(3, 16).unwrap();
        config.model.base_width = 4;
        config.model.memory.as_mut().unwrap().items = 8;
        config.training.held_out = 0.3;
        let (shape, training) = (config.model.shape, &config.training);
        let data = TrainingData::read(&folder.at("normal"), shape, training).unwrap();
        let network = Network::new(&config.network(), tch::Device::Cpu).unwrap();
        let training = MeanLosses { losses: StepLosses::default(), steps: 1 };
        let epoch = EpochRecord {
            epoch: 1,
            learning_rate: 0.0,
            training,
            held_out_psnr_db: 0.0,
            motion_loss_vs_zero: None,
            memory: None,
            seconds: 0.0,
        };
        let finished = Finished {
            config: &config,
            data: &data,
            history: &[epoch],
            seconds: 1.0,
            device: DeviceSpec::Cpu,
            interrupt: None,
        };
        let learner = Learner::new(network, config.loss.clone());
        train::checkpoint(learner, &finished).unwrap().write(folder.at("before")).unwrap();
        folder
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What the command makes of `checkpoint` on the normal video.
    fn calibrated(&self, checkpoint: &str, more: &[(&str, &str)]) -> CheckpointContent {
        let more = [more, &[("--accept-alarms", "")]].concat();
        self.calibrate(checkpoint, &more).unwrap();
        Checkpoint::read(self.at("after")).unwrap().into_content()
    }

    fn calibrate(&self, checkpoint: &str, more: &[(&str, &str)]) -> anyhow::Result<()> {
        let mut line = vec!["protoguard-trainer".into(), "calibrate".into(), "--overwrite".into()];
        let data = [("--checkpoint", checkpoint), ("--data", "normal"), ("--out", "after")];
        // The last of two that are alike counts.
        let files = data.iter().filter(|(flag, _)| more.iter().all(|(other, _)| other != flag));
        for &(flag, value) in files.chain(more) {
            line.push(flag.into());
            match flag {
                "--accept-alarms" | "--no-zones" => {}
                "--scene" => line.push(value.into()),
                _ => line.push(self.at(value)),
            }
        }
        line.extend(["--cache", "off", "--threads", "1"].map(PathBuf::from));
        let Command::Calibrate(args) = Cli::try_parse_from(&line).unwrap().command else {
            panic!("{line:?}")
        };
        run(&args)
    }

    /// The normal video as `name`, with bars that flicker over frames 30 to 44 of its first video.
    fn with_an_anomaly(&self, name: &str) {
        for video in ["01", "02"] {
            let [from, to] =
                ["normal", name].map(|of| self.at(of).join("training/frames").join(video));
            std::fs::create_dir_all(&to).unwrap();
            for frame in 0..60 {
                let file = format!("{frame:03}.jpg");
                let mut picture = image::open(from.join(&file)).unwrap().to_rgb8();
                if video == "01" && (30..45).contains(&frame) {
                    let bar = |y: u32| if y / 8 == frame % 4 { [255; 3] } else { [0; 3] };
                    picture.enumerate_pixels_mut().for_each(|(_, y, pixel)| pixel.0 = bar(y));
                }
                picture.save(to.join(&file)).unwrap();
            }
        }
    }
}

#[test]
fn the_command_adds_a_scene_and_replaces_it() {
    let folder = Folder::new();
    let before = Checkpoint::read(folder.at("before")).unwrap().into_content();
    assert_eq!(before.calibrations.len(), 1);
    // Drawn scenes say how fast they are.
    assert_eq!(before.training.frame_interval.map(f64::from), Some(100.0));
    let gate = folder.calibrated("before", &[("--scene", "gate")]);
    assert_eq!(gate.calibrations[0], before.calibrations[0]);
    let scenes: Vec<_> = gate.calibrations.iter().map(|of| of.scene.as_deref()).collect();
    assert_eq!(scenes, [None, Some("gate")]);
    assert_eq!(gate.calibrations[1].frames, 2 * 57, "every frame with three before it");
    assert_eq!(gate.tensors, before.tensors);
    // Steps of int8 serve all normal video, of which only a part was held out.
    let (narrow, wide) = (before.activation_ranges.by_layer(), gate.activation_ranges.by_layer());
    assert!(!narrow.is_empty() && narrow.iter().all(|(layer, range)| wide[layer] >= *range));

    std::fs::write(folder.at("knee.toml"), "[detector]\nknee = 3.5\n").unwrap();
    let knee = [("--scene", "gate"), ("--config", "knee.toml")];
    let bent = folder.calibrated("after", &knee);
    let knees: Vec<_> =
        bent.calibrations.iter().map(|of| of.detector.as_ref().unwrap().knee).collect();
    assert_eq!(knees, [Recipe::default().knee, 3.5]);
    // Without a scene it is the calibration of all that is replaced.
    let all = folder.calibrated("before", &[]);
    assert_eq!((all.calibrations.len(), all.calibrations[0].frames), (1, 2 * 57));
}

#[test]
fn the_command_reads_zones_keeps_them_and_takes_them_away() {
    let folder = Folder::new();
    let text = r#"[{"name": "tree", "rule": "exclude",
        "polygon": [{"x": 0, "y": 0}, {"x": 0.5, "y": 0}, {"x": 0.5, "y": 1}, {"x": 0, "y": 1}]}]"#;
    std::fs::write(folder.at("zones.json"), text).unwrap();
    let whole = folder.calibrated("before", &[]).calibrations.remove(0);
    let zoned = folder.calibrated("before", &[("--zones", "zones.json")]).calibrations.remove(0);
    assert_eq!(zoned.zones.as_ref().unwrap().zones()[0].name, "tree");
    assert!(zoned.id.starts_with("default+") && zoned.id.len() == 16, "{}", zoned.id);
    // What is left of the picture has other values; the paper's regularity is of all of it.
    assert_ne!(zoned.detector, whole.detector);
    assert_eq!(zoned.normaliser, whole.normaliser);
    // Another calibration of the same camera looks where the one before did, unless told otherwise.
    let again = folder.calibrated("after", &[]).calibrations.remove(0);
    assert_eq!((again.id, again.detector), (zoned.id, zoned.detector));
    let everywhere = folder.calibrated("after", &[("--no-zones", "")]).calibrations.remove(0);
    assert_eq!((everywhere.id.as_str(), everywhere.zones), ("default", None));
    assert_eq!(everywhere.detector, whole.detector);

    std::fs::write(folder.at("zones.json"), text.replace("0.5", "1.5")).unwrap();
    let error = folder.calibrate("before", &[("--zones", "zones.json")]).unwrap_err();
    let message = crate::one_line(&error);
    assert!(message.contains("zone `tree` has a corner at (1.5, 0)"), "{message}");
    let error = folder.calibrate("before", &[("--zones", "nowhere.json")]).unwrap_err();
    assert!(error.to_string().contains("nowhere.json cannot be read"), "{error}");
}

#[test]
fn the_command_takes_learnt_video() {
    let folder = Folder::new();
    let detector = |learnt: Option<&str>| {
        let learnt: Vec<_> = learnt.map(|name| ("--learnt", name)).into_iter().collect();
        folder.calibrated("before", &learnt).calibrations.remove(0).detector
    };
    let alone = detector(None);
    assert_ne!(detector(Some("more")), alone);
}

#[test]
fn a_signal_ends_it_between_two_batches() {
    let shape = ClipShape::new(2, 16).unwrap();
    let frames = (0..20).map(|_| Frame::new(16, 16, vec![0; 768]).unwrap());
    let held_out = [DecodedVideo::in_memory("01", None, frames.collect())];
    let normal = NormalVideo { held_out: &held_out, learnt: &[] };
    let interrupt = Interrupt::received(signal_hook::consts::SIGTERM);
    let options = CalibrationOptions {
        gamma: GAMMA,
        detector: Recipe::default(),
        zones: None,
        batch_size: 8,
        interrupt: Some(Box::leak(Box::new(interrupt))),
    };
    let error = calibrate(&mut FirstPixel, normal, shape, &options).unwrap_err();
    let CalibrateError::Scoring(ScoringError::Stopped(signal)) = error else { panic!("{error}") };
    assert_eq!(signal.exit_code(), 143);
}

#[test]
fn what_is_held_out_is_not_learnt() {
    let frame = || Frame::new(16, 16, vec![0; 768]).unwrap();
    let videos = |names: &[&str]| -> Vec<DecodedVideo> {
        names.iter().map(|name| DecodedVideo::in_memory(name, None, vec![frame()])).collect()
    };
    let held_out = videos(&["03", "07"]);
    let mut learnt = videos(&["01", "03", "04"]);
    leave_out(&mut learnt, &held_out).unwrap();
    let names: Vec<&str> = learnt.iter().map(|video| video.name.as_str()).collect();
    assert_eq!(names, ["01", "04"]);
    assert!(leave_out(&mut Vec::new(), &held_out).is_ok());
    let error = leave_out(&mut videos(&["03"]), &held_out).unwrap_err().to_string();
    assert!(error.starts_with("every video of --learnt"), "{error}");
}

#[test]
fn of_much_learnt_video_parts_are_taken_all_over_it() {
    let shape = ClipShape::new(2, 16).unwrap();
    let video = |frames: usize| {
        let frames = (0..frames).map(|_| Frame::new(16, 16, vec![0; 768]).unwrap());
        DecodedVideo::in_memory("01", None, frames.collect())
    };
    let clips = |videos: &[DecodedVideo]| -> Vec<usize> {
        videos.iter().map(|video| video.clip_count(shape)).collect()
    };
    let videos = [video(102), video(2), video(302), video(12)];
    assert_eq!(clips(&spread(&videos, shape, 410)), [100, 0, 300, 10]);
    // 10, 30 and 1 of 41; of the last none is left to rounding.
    let found = spread(&videos, shape, 41);
    assert_eq!(
        clips(&found),
        [[1, 1, 1, 2, 1, 1, 1, 2], [3, 4, 4, 4, 3, 4, 4, 4]]
            .concat()
            .into_iter()
            .chain([1])
            .collect::<Vec<_>>()
    );
    let starts: Vec<usize> = found[..8].iter().map(|part| part.range().start).collect();
    assert_eq!(starts, [0, 12, 25, 37, 50, 62, 75, 87]);
    // Many short videos keep as many clips as are asked for.
    let many = vec![video(12); 50];
    assert_eq!(clips(&spread(&many, shape, 20)).iter().sum::<usize>(), 20);
}

#[test]
fn alarms_are_told_by_their_video_frames_and_peak() {
    let shape = ClipShape::new(2, 16).unwrap();
    let video = |name: &str, odd: std::ops::Range<usize>| {
        let level = |at: usize| if odd.contains(&at) { 255 } else { at * 37 % 101 };
        let frame = |at: usize| Frame::new(16, 16, vec![level(at) as u8; 768]).unwrap();
        DecodedVideo::in_memory(name, None, (0..400).map(frame).collect())
    };
    let options = CalibrationOptions {
        gamma: GAMMA,
        detector: Recipe::default(),
        zones: None,
        batch_size: 64,
        interrupt: None,
    };
    let normal = [video("01", 0..0), video("02", 0..0)];
    let scored = |held_out: &[DecodedVideo], learnt: &[DecodedVideo]| {
        let normal = NormalVideo { held_out, learnt };
        ScoredNormal::new(&mut FirstPixel, normal, shape, &options).unwrap()
    };
    let before = scored(&normal, &[]).calibrations(&options).unwrap().remove(0);
    let interval = Some(100.0.try_into().unwrap());
    accepted::check(Some(&before), &scored(&normal, &[]), interval, &None).unwrap();
    // Held-out and learnt video count alike, and a part knows where it lies.
    let odd = video("04", 100..120).part(50..400);
    let odd = scored(&[video("03", 0..0), video("03", 200..210)], &[odd]);
    let error = accepted::check(Some(&before), &odd, interval, &None).unwrap_err();
    let by_the_hour = before.detector.as_ref().unwrap().alarm(1.0, 36_000.0).unwrap().threshold;
    assert_eq!((error.threshold, error.alarms.len()), (by_the_hour, 2));
    let starts: Vec<_> =
        error.alarms.iter().map(|it| (it.video.as_str(), it.frames.start)).collect();
    assert_eq!(starts, [("03", 201), ("04", 101)]);
    assert!(error.alarms.iter().all(|it| it.peak > by_the_hour && it.frames.len() >= 9));
    let message = error.to_string();
    assert!(message.contains("raises 2 alarms") && message.contains("frames 201 to"), "{message}");
    // Of a model that says nothing of its rate the share of frames decides.
    let error = accepted::check(Some(&before), &odd, None, &None).unwrap_err();
    assert_eq!(error.threshold, 2.0);
    // What has no calibration, or none that raises alarms, has nothing to compare with.
    accepted::check(None, &odd, interval, &None).unwrap();
    let quiet = Calibration { detector: None, ..before };
    accepted::check(Some(&quiet), &odd, interval, &None).unwrap();
}

#[test]
fn video_in_which_the_camera_would_alarm_is_not_normal() {
    let folder = Folder::new();
    let night = ("--scene", "gate/night");
    let mut of_night = folder.calibrated("before", &[night]);
    let scenes: Vec<_> = of_night.calibrations.iter().map(|of| of.scene.as_deref()).collect();
    assert_eq!(scenes, [None, Some("gate/night")]);
    // Its threshold is then that of one frame in a hundred, whatever the weights happen to be.
    of_night.training.frame_interval = None;
    Checkpoint::new(of_night.clone()).unwrap().write(folder.at("served")).unwrap();
    std::fs::remove_file(folder.at("after")).unwrap();

    folder.with_an_anomaly("odd");
    let odd = ("--data", "odd");
    let error = folder.calibrate("served", &[night, odd]).unwrap_err();
    assert_eq!(crate::exit_code(&error), 1);
    assert!(!folder.at("after").exists(), "nothing is written");
    let message = error.to_string();
    assert!(message.contains("--accept-alarms") && message.contains("\"gate/night\""), "{message}");
    let AlarmsError { threshold, alarms, .. } = error.downcast_ref().unwrap();
    assert_eq!(*threshold, 2.0);
    let found = alarms.iter().find(|alarm| alarm.video == "01" && alarm.frames.contains(&40));
    assert!(found.is_some_and(|alarm| alarm.frames.start >= 30), "{alarms:?}");

    // Another scene has nothing to compare with, and who knows better says so.
    folder.calibrate("served", &[("--scene", "gate"), odd]).unwrap();
    let accepted = folder.calibrated("served", &[night, odd]);
    assert_ne!(accepted.calibrations[1], of_night.calibrations[1]);
}

#[test]
fn the_camera_is_measured_where_there_is_enough_of_it() {
    let shape = ClipShape::new(2, 16).unwrap();
    let frame = |at: usize| {
        let pixels: Vec<u8> = (0..768).map(|it| (it + at % 7) as u8).collect();
        Frame::new(16, 16, pixels)
    };
    let video = |scene: Option<&str>, frames: usize| {
        let frames = (0..frames).map(|at| frame(at).unwrap()).collect();
        DecodedVideo::in_memory("01", scene, frames)
    };
    let options = CalibrationOptions {
        gamma: GAMMA,
        detector: Recipe::default(),
        zones: None,
        batch_size: 64,
        interrupt: None,
    };
    let has_bounds = |held_out: &[DecodedVideo], learnt: &[DecodedVideo]| -> Vec<bool> {
        let normal = NormalVideo { held_out, learnt };
        let found = calibrate(&mut FirstPixel, normal, shape, &options).unwrap();
        found.iter().map(|one| one.camera.is_some()).collect()
    };
    let enough = CameraBounds::MIN_FRAMES;
    // Learnt video tells how the camera looks as well as held-out video.
    assert_eq!(has_bounds(&[video(None, 20)], &[video(None, enough - 20)]), [true]);
    assert_eq!(has_bounds(&[video(None, 20)], &[video(None, enough - 21)]), [false]);
    let [gate, yard] = [Some("gate"), Some("yard")].map(|scene| video(scene, enough));
    assert_eq!(has_bounds(std::slice::from_ref(&gate), &[]), [true, true]);
    // Two cameras have no look in common.
    assert_eq!(has_bounds(&[gate, yard], &[]), [false, true, true]);
}
