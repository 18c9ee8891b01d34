//! Drawn scenes: repeatable, labelled where the anomaly is, and honest.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use protoguard_core::{ClipShape, Frame};
use protoguard_frames::scenes::{AnomalyKind, Scene, SynthConfig, test_clip};

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

fn brightness(frame: &Frame) -> f64 {
    frame.pixels().iter().map(|&value| f64::from(value)).sum::<f64>() / frame.pixels().len() as f64
}

#[test]
fn a_seed_gives_the_same_frames_in_any_order_and_another_seed_others() {
    let scene = Scene::testing(&small(), 1);
    let rendered = scene.render();
    assert_eq!(rendered.frames[40], Scene::testing(&small(), 1).frame(40));
    let other = SynthConfig { seed: 6, ..small() };
    assert_ne!(rendered.frames[40], Scene::testing(&other, 1).frame(40));
    assert_ne!(rendered.frames[40], Scene::testing(&small(), 2).frame(40));
    assert_ne!(Scene::training(&small(), 0).frame(3), Scene::testing(&small(), 0).frame(3));
}

/// What a seed draws outlives the generator's releases: results on drawn scenes stay comparable.
#[test]
fn a_seed_draws_what_it_always_drew() {
    let scenes = (0..4).map(|index| Scene::testing(&small(), index));
    let spans: Vec<_> = scenes
        .clone()
        .map(|scene| scene.anomaly().map(|span| (span.first_frame, span.frames)).unwrap())
        .collect();
    assert_eq!(spans, [(14, 16), (26, 34), (14, 27), (28, 20)]);
    // Within what another libm's last bit can change.
    let drawn: Vec<f64> = scenes.map(|scene| brightness(&scene.frame(40))).collect();
    assert!(
        drawn
            .iter()
            .zip([116.7014, 113.2245, 119.0028, 112.0728])
            .all(|(a, b)| (a - b).abs() < 0.01),
        "{drawn:?}"
    );
}

#[test]
fn every_kind_has_one_stretch_of_a_fifth_to_a_half_of_the_frames() {
    let config = SynthConfig { frames_per_video: 200, ..small() };
    for seed in 0..20 {
        let config = SynthConfig { seed, ..config };
        for (index, kind) in AnomalyKind::ALL.into_iter().enumerate() {
            let scene = Scene::testing(&config, index);
            let span = scene.anomaly().unwrap();
            assert_eq!(span.kind, kind);
            assert!((40..=100).contains(&span.frames), "seed {seed}: {span:?}");
            assert!(span.first_frame >= 20 && span.first_frame + span.frames <= 195);
            let labelled = (0..200).filter(|&frame| scene.label(frame)).count();
            assert_eq!(labelled, span.frames);
        }
    }
    assert!(Scene::training(&config, 0).render().labels.iter().all(|&label| !label));
}

/// Without the anomaly a test video is the same picture: its crowd, light and noise do not know
/// where the stretch is.
#[test]
fn outside_the_stretch_the_kind_of_anomaly_changes_nothing() {
    let config = SynthConfig { frames_per_video: 120, ..small() };
    let cyclist = Scene::testing_with(&config, 0, AnomalyKind::Cyclist);
    let cart = Scene::testing_with(&config, 0, AnomalyKind::Cart);
    let within = |frame| cyclist.label(frame) || cart.label(frame);
    // Ten frames on either side, in which something anomalous is less than a third in the picture.
    let clear = |frame: usize| (frame.saturating_sub(10)..=frame + 10).all(|near| !within(near));
    let frames: Vec<usize> = (0..120).filter(|&frame| clear(frame)).collect();
    assert!(frames.len() > 10);
    assert!(frames.iter().all(|&frame| cyclist.frame(frame) == cart.frame(frame)));
}

#[test]
fn brightness_does_not_give_the_anomaly_away() {
    let config = SynthConfig { frames_per_video: 120, ..small() };
    for index in 0..6 {
        let scene = Scene::testing(&config, index);
        let mean = |label: bool| {
            let frames: Vec<f64> = (0..120)
                .filter(|&frame| scene.label(frame) == label)
                .map(|frame| brightness(&scene.frame(frame)))
                .collect();
            frames.iter().sum::<f64>() / frames.len() as f64
        };
        let (normal, abnormal) = (mean(false), mean(true));
        // The light alone comes and goes by up to a twentieth.
        assert!((normal - abnormal).abs() < 10.0, "video {index}: {normal} and {abnormal}");
    }
}

#[test]
fn the_built_in_clips_have_any_shape() {
    for (past_frames, side) in [(1, 16), (4, 64), (9, 24)] {
        let shape = ClipShape::new(past_frames, side).unwrap();
        let (normal, odd) = (test_clip(shape, false), test_clip(shape, true));
        assert_eq!((normal.shape(), odd.shape()), (shape, shape));
        assert!(normal.target().is_some());
        assert_ne!(normal, odd);
    }
}
