use protoguard_core::{CameraBounds, ClipMaps, ClipScore, Frame, Plane, ScorerError, ScorerInput};

use super::normal::spread;
use super::*;

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
