//! Anomalies put into normal video: a square that moves by itself, drawn scenes, and Ped2 where
//! it is at hand.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::LazyLock;

use proptest::prelude::*;
use protoguard_core::{Frame, Mask};
use protoguard_datasets::anomalies::{
    AnomalousVideo, InsertError, InsertPlan, InsertedKind, insert,
};
use protoguard_frames::scenes::{Scene, SynthConfig};

const SIDE: [usize; 2] = [96, 128];
const SQUARE: usize = 12;

/// A light square that moves by one pixel a frame to the right, on ground that is lit unevenly.
fn square() -> Vec<Frame> {
    let frame = |frame: usize| {
        let value = |at: usize| {
            let (y, x) = (at / SIDE[1], at % SIDE[1]);
            let inside = (40..40 + SQUARE).contains(&y) && (frame..frame + SQUARE).contains(&x);
            if inside { 200 } else { 80 + (x / 4) as u8 }
        };
        let gray: Vec<u8> = (0..SIDE[0] * SIDE[1]).map(value).collect();
        Frame::from_gray(SIDE[0], SIDE[1], &gray).unwrap()
    };
    (0..116).map(frame).collect()
}

fn with(kind: InsertedKind, seed: u64) -> AnomalousVideo {
    let video = square();
    insert(&video, &video, &InsertPlan { seed, kinds: vec![kind] }).unwrap()
}

/// Mean column of what a mask marks.
fn column(mask: &Mask) -> f32 {
    let columns = (0..mask.height()).flat_map(|y| (0..mask.width()).map(move |x| [y, x]));
    let marked: Vec<usize> = columns.filter(|&[y, x]| mask.get(y, x)).map(|[_, x]| x).collect();
    marked.iter().sum::<usize>() as f32 / marked.len() as f32
}

/// Pixels a frame by which the masks move in the middle of the event.
fn speed(made: &AnomalousVideo) -> f32 {
    let event = made.events[0];
    let from = event.first_frame + event.frames / 4;
    let to = event.first_frame + event.frames / 2;
    (column(&made.masks[to]) - column(&made.masks[from])) / (to - from) as f32
}

#[test]
fn what_is_sped_up_moves_two_to_three_times_as_fast() {
    for seed in 0..4 {
        let made = with(InsertedKind::SpedUp, seed);
        assert!((1.95..3.05).contains(&speed(&made)), "{}", speed(&made));
    }
}

#[test]
fn what_is_reversed_goes_back_at_its_own_speed() {
    let made = with(InsertedKind::Reversed, 1);
    assert!((-1.05..-0.95).contains(&speed(&made)), "{}", speed(&made));
}

#[test]
fn what_stops_stands_and_is_gone_from_where_it_would_be() {
    let made = with(InsertedKind::Stopped, 2);
    let event = made.events[0];
    assert!(speed(&made).abs() < 0.05, "{}", speed(&made));
    // Twenty frames on the square would be twenty pixels further: there is the ground.
    let frame = event.first_frame + 19;
    let value = |x: usize| i32::from(made.frames[frame].pixels()[(46 * SIDE[1] + x) * 3]);
    let middle = frame + SQUARE / 2;
    assert!((value(middle) - (80 + middle as i32 / 4)).abs() <= 3, "{}", value(middle));
    let stands = event.first_frame - 1 + SQUARE / 2;
    assert!(value(stands) > 180, "{}", value(stands));
}

#[test]
fn drawn_objects_cross_gray_video_in_gray() {
    for seed in 0..3 {
        let made = with(InsertedKind::DrawnObject, seed);
        assert!(speed(&made).abs() > 2.0, "{}", speed(&made));
        let frame = &made.frames[made.events[0].first_frame + 10];
        assert!(frame.pixels().chunks(3).all(|p| p[0] == p[1] && p[1] == p[2]));
    }
}

#[test]
fn what_cannot_be_is_named() {
    let still = vec![Frame::from_gray(32, 32, &[90; 1024]).unwrap(); 80];
    let plan = |kinds: &[InsertedKind]| InsertPlan { seed: 0, kinds: kinds.to_vec() };
    for kind in InsertedKind::ALL {
        let error = insert(&still, &still, &plan(&[kind])).unwrap_err();
        assert_eq!(error, InsertError::NoMotion { kind, frames: 80, least: 6 });
    }
    let two = [InsertedKind::Stopped; 2];
    let error = insert(&still[..75], &still, &plan(&two)).unwrap_err();
    assert_eq!(error, InsertError::TooShort { found: 75, needed: 76, events: 2 });
    let error = insert(&still, &square(), &plan(&two)).unwrap_err();
    assert_eq!(error, InsertError::Size { index: 80, height: 96, width: 128 });
    assert!(insert(&[], &[], &plan(&two)).is_err());
    let error = insert(&still, &still, &plan(&[])).unwrap_err();
    assert_eq!(error.to_string(), "the plan has 0 events; 1 or 2 are expected");
}

#[test]
fn kinds_take_turns() {
    let kinds = |frames: usize| -> Vec<InsertedKind> {
        (0..5).flat_map(|index| InsertPlan::of_video(7, index, frames).kinds).collect()
    };
    assert_eq!(kinds(120), InsertedKind::ALL);
    assert_eq!(kinds(160), [InsertedKind::ALL, InsertedKind::ALL].concat());
    assert_ne!(InsertPlan::of_video(7, 0, 99).seed, InsertPlan::of_video(7, 5, 99).seed);
}

/// What holds for every video with anomalies in it.
fn check(video: &[Frame], made: &AnomalousVideo, plan: &InsertPlan) {
    let kinds: Vec<InsertedKind> = made.events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, plan.kinds);
    assert_eq!([made.frames.len(), made.labels.len(), made.masks.len()], [video.len(); 3]);
    let mut labels = vec![false; video.len()];
    let mut normal_since = 0;
    for event in &made.events {
        let [least, most] = InsertPlan::EVENT_FRAMES;
        assert!((least..=most).contains(&event.frames), "{event:?}");
        assert!(event.first_frame >= normal_since + InsertPlan::NORMAL_FRAMES, "{event:?}");
        normal_since = event.first_frame + event.frames;
        labels[event.first_frame..normal_since].fill(true);
    }
    assert!(video.len() - normal_since >= InsertPlan::NORMAL_FRAMES);
    assert_eq!(made.labels, labels);
    for (index, &label) in labels.iter().enumerate() {
        assert_eq!(made.frames[index] != video[index], label, "frame {index}");
        assert_eq!(made.masks[index].any(), label, "frame {index}");
    }
}

/// Two drawn videos of walkers, drawn once.
static WALKERS: LazyLock<[Vec<Frame>; 2]> = LazyLock::new(|| {
    let config = SynthConfig { height: 64, width: 64, ..SynthConfig::default() };
    [0, 1].map(|index| Scene::training(&config, index).render().frames)
});

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn events_are_where_they_are_said_to_be(
        seed in any::<u64>(),
        first in 0usize..5,
        second in proptest::option::of(0usize..5),
    ) {
        let kinds = [Some(first), second].into_iter().flatten();
        let plan = InsertPlan { seed, kinds: kinds.map(|at| InsertedKind::ALL[at]).collect() };
        let [video, donor] = &*WALKERS;
        match insert(video, donor, &plan) {
            Ok(made) => {
                check(video, &made, &plan);
                prop_assert_eq!(insert(video, donor, &plan).unwrap(), made);
            }
            // Nobody may be in the slot who walks on long enough to stop.
            Err(error) => {
                let stopped = InsertedKind::Stopped;
                let no_motion = matches!(error, InsertError::NoMotion { kind, .. } if kind == stopped);
                prop_assert!(no_motion, "{}", error);
            }
        }
    }
}
