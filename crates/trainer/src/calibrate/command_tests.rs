//! The command on checkpoints and videos in a folder.

use std::path::PathBuf;

use clap::Parser;
use protoguard_datasets::synth::write_dataset;
use protoguard_frames::scenes::SynthConfig;
use protoguard_model::{DeviceSpec, StepLosses};

use super::accepted::AlarmsError;
use super::*;
use crate::cli::{Cli, Command};
use crate::train::{self, EpochRecord, Finished, Learner, MeanLosses, TrainingData};

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
