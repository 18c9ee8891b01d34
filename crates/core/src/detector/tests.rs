use super::calibrate::{fit, stretches, trust};
use super::*;
use crate::{ClipMaps, Plane};

fn plane(side: usize, value: impl Fn(usize) -> f32) -> Plane {
    let values = (0..side * side).map(value).collect();
    Plane { height: side, width: side, channels: 1, values }
}

/// Of a frame whose errors, speeds and distances are in proportion to `loud`.
fn statistics(loud: f32) -> Statistics {
    Statistics::of(&ClipMaps {
        error: plane(8, |cell| if cell == 9 { 0.02 * loud } else { 0.001 }),
        moved: plane(8, |_| 0.02),
        speed: plane(4, |cell| if cell == 5 { loud } else { 0.1 }),
        feature_distance: Some(plane(4, |cell| if cell == 5 { 0.2 * loud } else { 0.02 })),
    })
}

fn loudness(frame: usize) -> f32 {
    1.0 + 0.3 * ((frame * 7919 % 101) as f32 / 101.0)
}

fn detector() -> Detector {
    let recipe = Recipe::default();
    let video = |from: usize| {
        (from..from + 200).map(|frame| statistics(loudness(frame))).collect::<Vec<_>>()
    };
    recipe.calibrate(&[&video(0), &video(1000), &video(2000)], &[]).unwrap()
}

#[test]
fn a_share_of_normal_frames_lies_above_its_threshold() {
    let detector = detector();
    for rate in [0.05, 0.01] {
        let above = |frame: &usize| {
            detector.judge(&statistics(loudness(*frame))).surprise > Detector::threshold(rate)
        };
        let found = (0..1000).filter(above).count() as f64 / 1000.0;
        assert!((found - rate).abs() <= 0.02, "{found} of normal frames at {rate}");
    }
}

/// Four videos, of which the last is by far the loudest: held against a distribution that it is
/// part of nothing in it is rare, held against the others all of it is.
#[test]
fn sums_are_calibrated_across_videos() {
    let video = |light: f32| -> Vec<Statistics> {
        (0..100).map(|frame| statistics(light + 0.1 * loudness(frame))).collect()
    };
    let videos = [1.0, 1.0, 1.0, 2.0].map(video);
    let recipe = Recipe::default();
    let detector = recipe.calibrate(&videos.each_ref().map(Vec::as_slice), &[]).unwrap();
    let loudest = |detector: &Detector| detector.judge(&videos[3][50]);
    let values = |clip| recipe.values(&[0.0; 3], clip);
    let same = recipe.parts_of(&videos.iter().flatten().map(values).collect::<Vec<_>>()).unwrap();
    let in_sample: Vec<f64> = videos
        .iter()
        .flatten()
        .map(|clip| sum(&surprises(&same, &values(clip)), &detector.parts, recipe.knee))
        .collect();
    let in_sample = Detector { instant: fit("sum", &in_sample).unwrap(), ..detector.clone() };
    let [across, within] = [&detector, &in_sample].map(|found| loudest(found).surprise);
    assert!(across < within, "{across} {within}");
    // A quarter of the normal frames were so unusual for the other three videos.
    assert!((across - 4f64.log10()).abs() < 0.2, "{across}");
}

#[test]
fn a_single_video_is_cut_and_several_are_kept_whole() {
    let clips = [1.0; 10].map(statistics);
    let lengths = |videos: &[&[Statistics]]| -> Vec<(usize, usize)> {
        stretches(videos).iter().map(|of| (of.video, of.clips.len())).collect()
    };
    assert_eq!(lengths(&[&clips]), [(0, 3), (0, 3), (0, 3), (0, 1)]);
    assert_eq!(lengths(&[&clips[..4], &[], &clips[..3]]), [(0, 4), (2, 3)]);
    // Two clips beside the longest video make a distribution, and one makes none.
    assert_eq!(lengths(&[&clips[..4], &clips[..2]]), [(0, 4), (1, 2)]);
    assert_eq!(lengths(&[&clips[..4], &clips[..1]]), [(0, 1), (0, 1), (0, 1), (0, 1), (1, 1)]);
    assert_eq!(lengths(&[&[], &clips[..8]]), [(1, 2); 4]);
    // What was learnt of one recording beside its held-out end.
    assert_eq!(lengths(&[&clips[..4], &clips]), [(0, 4), (1, 3), (1, 3), (1, 3), (1, 1)]);
    assert_eq!(lengths(&[&clips[..5], &clips]), [(0, 5), (1, 10)]);
    assert_eq!(lengths(&[clips.as_slice(); 5]), [0, 1, 2, 3, 4].map(|video| (video, 10)));
}

/// Speed differs from video to video here, and errors do not.
#[test]
fn a_part_that_does_not_carry_over_is_trusted_less() {
    let video = |pace: f32| -> Vec<Statistics> {
        let of = |frame| {
            let loud = loudness(frame);
            Statistics::of(&ClipMaps {
                error: plane(8, |cell| if cell == 9 { 0.02 * loud } else { 0.001 }),
                moved: plane(8, |_| 0.02),
                speed: plane(4, |cell| if cell == 5 { pace * loud } else { 0.1 }),
                feature_distance: None,
            })
        };
        (0..200).map(of).collect()
    };
    let videos = [1.0, 1.5, 2.0].map(video);
    let detector = Recipe::default().calibrate(&videos.each_ref().map(Vec::as_slice), &[]).unwrap();
    let [error, relative, speed] = [0, 1, 2].map(|part| detector.parts[part].trust);
    assert!(error > 0.9 && relative > 0.9 && speed < 0.3, "{error} {relative} {speed}");
    assert_eq!(detector.recipe(), Recipe::default());
    let clip = detector.judge(&videos[0][7]);
    let counted = clip.parts.iter().zip(&detector.parts);
    let counted = counted.map(|(of, part)| part.weight * part.trust * of.surprise);
    assert!((clip.sum - counted.sum::<f64>()).abs() < 1e-12);
    assert_eq!(trust(vec![1.0; 40]), 1.0);
    assert_eq!(trust(vec![-2.0 * 0.05f64.log10(); 40]), 0.5);
}

/// People walk everywhere, three times as fast at the lower edge as at the upper one; somebody runs
/// far away, no faster than those who walk near by.
#[test]
fn who_runs_far_away_is_heard() {
    let clip = |frame: usize, running: bool| {
        let height = |cell: usize| (cell / 8) as f32 / 7.0;
        let pace = |cell: usize| (1.0 + 2.0 * height(cell)) * loudness(frame + 31 * (cell % 8));
        let speed = |cell: usize| if running && cell == 10 { 2.8 } else { pace(cell) };
        Statistics::of(&ClipMaps {
            error: plane(16, |_| 0.001),
            moved: plane(16, |_| 0.02),
            speed: plane(8, speed),
            feature_distance: None,
        })
    };
    let surprise = |max_slope: f64| {
        let parts = vec![WeightedPart { part: Part::Speed, weight: 1.0 }];
        let recipe = Recipe { parts, max_slope, ..Recipe::default() };
        let normal: Vec<Statistics> = (0..400).map(|frame| clip(frame, false)).collect();
        let detector = recipe.calibrate(&[&normal], &[]).unwrap();
        assert!(detector.parts[0].slope <= max_slope);
        let seen = clip(7, true);
        let judged = detector.judge(&seen).parts[0].value;
        assert_eq!(detector.statistic(Part::Speed, &seen), Some(judged));
        assert_eq!(
            detector.statistic(Part::LargestError, &seen),
            seen.get(Part::LargestError),
            "a part that does not count is as it is"
        );
        let judged = |running| {
            (0..50).map(|frame| detector.judge(&clip(1000 + frame, running)).surprise).sum::<f64>()
        };
        (judged(true) - judged(false)) / 50.0
    };
    let (flat, level) = (surprise(0.0), surprise(1.2));
    assert!(flat < 0.1 && level > 1.0, "{flat} without, {level} in perspective");
}

/// Beyond the knee a part counts by its logarithm.
#[test]
fn a_part_counts_in_full_up_to_the_knee() {
    let part = |weight| CalibratedPart {
        part: Part::Speed,
        weight,
        trust: 1.0,
        slope: 0.0,
        normal: Normal::fit(&[0.0, 1.0]).unwrap(),
    };
    let says = |surprise| PartSurprise { part: Part::Speed, value: 0.0, surprise };
    let of = |surprise| sum(&[says(1.0), says(surprise)], &[part(1.0), part(0.5)], 2.0);
    assert_eq!([of(1.0), of(2.0)], [1.5, 2.0]);
    let e = std::f64::consts::E;
    assert!((of(1.0 + e) - (1.0 + 0.5 * 3.0)).abs() < 1e-12, "{}", of(1.0 + e));
}

#[test]
fn what_is_far_outside_goes_on_rising_and_says_why() {
    let detector = detector();
    let [odd, odder] = [2.0, 4.0].map(|loud| detector.judge(&statistics(loud)));
    assert!(odd.surprise > 3.0 && odder.surprise > odd.surprise + 1.0);
    assert!(odder.parts.iter().all(|part| part.surprise > 2.0), "{:?}", odder.parts);
    assert_eq!(odder.parts[2].part, Part::Speed);
    assert!((odder.parts[2].value - 4.0).abs() < 1e-6);
}

#[test]
fn smoothing_keeps_its_share_of_what_was() {
    let mut smoothing = Smoothing::new(0.75);
    assert_eq!([4.0, 8.0, 0.0].map(|value| smoothing.push(value)), [4.0, 5.0, 3.75]);
}

#[test]
fn smoothing_takes_time_and_knows_its_own_distribution() {
    let detector = detector();
    let mut smoother = detector.smoother();
    let mut push = |loud| smoother.push(detector.judge(&statistics(loud)).sum);
    for frame in 0..50 {
        push(loudness(frame));
    }
    let rising: Vec<f64> = (0..12).map(|_| push(3.0)).collect();
    assert!(rising.is_sorted_by(|a, b| a < b), "{rising:?}");
    let falling: Vec<f64> = (0..40).map(|frame| push(loudness(frame))).collect();
    assert!(falling[0] > falling[10], "what has passed fades: {falling:?}");
    assert!(falling[39] < Detector::threshold(0.01), "{falling:?}");
}

#[test]
fn what_gives_no_detector_is_named() {
    let four = [1.0, 1.1, 1.2, 1.3].map(statistics);
    let few = Recipe::default().calibrate(&[&four[..1], &[], &four[2..]], &[]).unwrap_err();
    assert_eq!(few.to_string(), "3 held-out clips; at least 4 are needed");
    // A video of one clip is no measure of another, and a part of the other is.
    for videos in [[&four[..], &[]], [&four[..1], &four[1..]], [&four[..2], &four[2..]]] {
        Recipe::default().calibrate(&videos, &[]).unwrap();
    }
    let broken = Recipe { keep: 1.0, ..Recipe::default() }.validate().unwrap_err().to_string();
    assert_eq!(broken, "detector.keep is 1; accepted: 0 or more, below 1");
    let parts = vec![WeightedPart { part: Part::Speed, weight: 0.0 }];
    let broken = Recipe { parts, ..Recipe::default() }.validate().unwrap_err().to_string();
    assert_eq!(broken, "detector.parts.weight is 0; accepted: above 0, finite");
    let parts = [Part::Speed, Part::LargestError, Part::Speed];
    let parts = parts.map(|part| WeightedPart { part, weight: 1.0 }).into();
    let broken = Recipe { parts, ..Recipe::default() }.validate().unwrap_err().to_string();
    assert_eq!(broken, "detector.parts is speed twice; accepted: each part once");
    let broken = Recipe { knee: -1.0, ..Recipe::default() }.validate().unwrap_err().to_string();
    assert_eq!(broken, "detector.knee is -1; accepted: 0 or more, finite");
    let broken = Recipe { max_slope: 2.0, ..Recipe::default() }.validate().unwrap_err().to_string();
    assert_eq!(broken, "detector.max_slope is 2; accepted: 0 or more, below 2");
}

#[test]
fn a_detector_knows_its_recipe() {
    let parts = vec![WeightedPart { part: Part::Speed, weight: 0.5 }];
    let recipe = Recipe { parts, knee: 1.0, keep: 0.25, max_slope: 0.75 };
    let clips = [1.0, 1.1, 1.2, 1.3].map(statistics);
    assert_eq!(recipe.calibrate(&[&clips], &[]).unwrap().recipe(), recipe);
}

#[test]
fn what_no_calibration_makes_is_not_valid() {
    let made = detector();
    let with = |change: fn(&mut Detector)| {
        let mut changed = made.clone();
        change(&mut changed);
        changed.is_valid()
    };
    assert!(made.is_valid());
    assert!(with(|detector| detector.parts[0].trust = 1.0));
    assert!(with(|detector| detector.parts[0].trust = 0.001));
    let changes: [fn(&mut Detector); 11] = [
        |detector| detector.parts[2].trust = 0.0,
        |detector| detector.parts[2].trust = -0.5,
        |detector| detector.parts[2].trust = 1.001,
        |detector| detector.parts[2].trust = f64::NAN,
        |detector| detector.parts[2].slope = -0.1,
        |detector| detector.parts[2].slope = 2.0,
        |detector| detector.max_slope = 2.0,
        |detector| detector.knee = -1.0,
        |detector| detector.parts[1].normal.scale = 0.0,
        |detector| detector.instant.scale = 0.0,
        |detector| detector.smoothed.scale = 0.0,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        assert!(!with(change), "change {index}");
    }
}

/// Two held-out videos of an empty square beside learnt ones of a busy one: what moves is counted
/// once more by the errors, which the model makes `flattered` times smaller where it has learnt.
fn square(crowd: f32, flattered: f32) -> Vec<Statistics> {
    let clip = |frame: usize| {
        let moved = crowd * loudness(frame);
        Statistics::of(&ClipMaps {
            error: plane(8, |cell| (if cell == 9 { 0.2 } else { 0.05 }) * moved * flattered),
            moved: plane(8, |_| 0.02 * moved),
            speed: plane(4, |_| 1.0),
            feature_distance: None,
        })
    };
    (0..200).map(clip).collect()
}

#[test]
fn busy_video_that_was_learnt_is_normal_where_held_out_video_is_empty() {
    let empty = [square(0.5, 1.0), square(0.6, 1.0)];
    let held_out = empty.each_ref().map(Vec::as_slice);
    let learnt = [0.5, 0.6, 1.0, 1.5, 2.0, 2.2].map(|crowd| square(crowd, 1.0));
    let recipe = Recipe::default();
    let alone = recipe.calibrate(&held_out, &[]).unwrap();
    let beside = recipe.calibrate(&held_out, &learnt.each_ref().map(Vec::as_slice)).unwrap();
    let busy = square(1.8, 1.0);
    let alarms = |detector: &Detector| {
        let above = |clip: &&Statistics| detector.judge(clip).surprise > Detector::threshold(0.01);
        busy.iter().filter(above).count()
    };
    assert_eq!(alarms(&alone), 200, "a crowd is nothing that the empty square has seen");
    assert_eq!(alarms(&beside), 0);
}

/// The same camera, and a model that has learnt its videos by heart: three quarters of the errors
/// are gone there, and what is normal elsewhere is none the rarer for it.
#[test]
fn learnt_video_does_not_flatter_the_threshold() {
    let crowds = [0.5, 1.0, 1.5, 2.0, 2.2];
    let held_out = [square(0.7, 1.0), square(1.8, 1.0)];
    let held_out = held_out.each_ref().map(Vec::as_slice);
    let value = |flattered: f32| {
        let learnt = crowds.map(|crowd| square(crowd, flattered));
        let learnt = learnt.each_ref().map(Vec::as_slice);
        Recipe::default().calibrate(&held_out, &learnt).unwrap().parts[0].normal.value_at(2.0)
    };
    let (honest, flattered) = (value(1.0), value(0.25));
    assert!((honest - flattered).abs() < 0.1, "{honest} dB and {flattered} dB");
}

#[test]
fn a_part_that_the_model_does_not_have_is_none_of_the_detector() {
    let distance = WeightedPart { part: Part::FeatureDistance, weight: 0.5 };
    let mut recipe = Recipe::default();
    recipe.parts.push(distance);
    let without = square(1.0, 1.0);
    let detector = recipe.calibrate(&[&without], &[]).unwrap();
    assert_eq!(detector.recipe(), Recipe::default());
    let with: Vec<Statistics> = (0..50).map(|frame| statistics(loudness(frame))).collect();
    assert_eq!(recipe.calibrate(&[&with], &[]).unwrap().recipe(), recipe);
    let alone = Recipe { parts: vec![distance], ..recipe };
    let error = alone.calibrate(&[&without], &[]).unwrap_err().to_string();
    assert_eq!(
        error,
        "detector.parts is feature_distance; the model has no memory; a part that it has is needed"
    );
}

/// One recording, nine tenths learnt: its pieces are held against each other and not against the
/// end alone, which has seen the quietest tenth of it.
#[test]
fn one_recording_keeps_its_promise() {
    let clip = |frame: usize| {
        let crowd = 1.0 + (frame as f32 / 40.0).sin().abs() * loudness(frame);
        statistics(crowd)
    };
    let recording: Vec<Statistics> = (0..1000).map(clip).collect();
    let (learnt, held_out) = recording.split_at(950);
    let detector = Recipe::default().calibrate(&[held_out], &[learnt]).unwrap();
    assert!(detector.parts.iter().all(|part| part.trust > 0.7), "{:?}", detector.parts);
    let above =
        recording.iter().filter(|clip| detector.judge(clip).surprise > Detector::threshold(0.05));
    let above = above.count();
    assert!((5..=75).contains(&above), "{above} of 1000");
}
