//! The port: order, independence of batch mates, pictures, and errors.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod fixture;

use std::sync::Arc;

use protoguard_checkpoint::{Checkpoint, MemoryConfig, ModelConfig, Precision};
use protoguard_core::normalise::FrameScore;
use protoguard_core::{
    ClipMaps, ClipScore, ClipShape, Outputs, Plane, Scorer, ScorerError, ScorerFactory, ScorerInput,
};
use protoguard_model::{DeviceSpec, ScorerOptions, TchScorerFactory};

fn options() -> ScorerOptions {
    let (name, precision) = ("hall".to_owned(), Precision::F32);
    ScorerOptions { name, precision, threads: Some(1), ..ScorerOptions::default() }
}

fn factory() -> TchScorerFactory {
    TchScorerFactory::new(Arc::new(Checkpoint::new(fixture::content()).unwrap()), options())
}

/// Eight clips that want all sorts of pictures; two have no target.
fn mixed_batch(shape: ClipShape) -> Vec<ScorerInput> {
    let outputs = |seed: usize| Outputs {
        predicted_frame: !seed.is_multiple_of(3),
        rgb_difference: seed.is_multiple_of(2),
        error_map: seed > 2,
    };
    let frames = |seed: usize| if seed % 5 == 4 { shape.past_frames() } else { shape.frames() };
    (0..8)
        .map(|seed| ScorerInput {
            clip: fixture::clip(shape, seed, frames(seed)),
            outputs: outputs(seed),
        })
        .collect()
}

fn close_planes(a: &[Plane], b: &[Plane]) -> bool {
    let close = |a: &Plane, b: &Plane| {
        (a.height, a.width, a.channels) == (b.height, b.width, b.channels)
            && a.values.iter().zip(b.values.iter()).all(|(a, b)| (a - b).abs() <= 1e-5)
    };
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(a, b))
}

fn close_values(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-5,
        (a, b) => a == b,
    }
}

/// Every map of a clip, none without a target.
fn maps(score: &ClipScore) -> Vec<Plane> {
    let Some(maps) = &score.maps else { return Vec::new() };
    let ClipMaps { error, moved, speed, feature_distance } = maps.clone();
    [error, moved, speed].into_iter().chain(feature_distance).collect()
}

fn assert_close(a: &ClipScore, b: &ClipScore) {
    let distance = |score: &ClipScore| score.feature_distance.map(|d| d.0);
    assert!(close_values(a.psnr.map(|p| p.0), b.psnr.map(|p| p.0)), "{:?} {:?}", a.psnr, b.psnr);
    assert!(close_values(distance(a), distance(b)));
    let picture = |plane: &Option<Plane>| plane.clone().into_iter().collect::<Vec<_>>();
    assert!(close_planes(&picture(&a.predicted_frame), &picture(&b.predicted_frame)));
    assert!(close_planes(&picture(&a.error_map), &picture(&b.error_map)));
    assert!(close_planes(&a.rgb_difference, &b.rgb_difference));
    assert!(close_planes(&maps(a), &maps(b)));
}

fn check_batch_against_singles(config: &ModelConfig) {
    let mut scorer = fixture::scorer(&fixture::network(config));
    let batch = mixed_batch(config.shape);
    let together = scorer.score(&batch).unwrap();
    assert_eq!(together.len(), 8);
    for (input, score) in batch.iter().zip(&together) {
        let alone = scorer.score(std::slice::from_ref(input)).unwrap();
        assert_close(score, &alone[0]);
    }
    let reversed: Vec<ScorerInput> = batch.iter().rev().cloned().collect();
    for (a, b) in together.iter().rev().zip(&scorer.score(&reversed).unwrap()) {
        assert_close(a, b);
    }
}

#[test]
fn a_batch_of_8_is_8_singles() {
    let config = fixture::config();
    check_batch_against_singles(&config);
    check_batch_against_singles(&ModelConfig { memory: None, ..config.clone() });
    check_batch_against_singles(&ModelConfig { motion_branch: false, ..config.clone() });
    let wide = ModelConfig { base_width: 8, shape: ClipShape::new(4, 64).unwrap(), ..config };
    let memory = Some(MemoryConfig::default());
    check_batch_against_singles(&ModelConfig { memory, ..wide });
}

#[test]
fn everyone_gets_what_they_asked_for_and_nothing_else() {
    let config = fixture::config();
    let mut scorer = fixture::scorer(&fixture::network(&config));
    let batch = mixed_batch(config.shape);
    for (input, score) in batch.iter().zip(scorer.score(&batch).unwrap()) {
        let has_target = input.clip.target().is_some();
        assert_eq!(maps(&score).len(), if has_target { 4 } else { 0 });
        assert_eq!(score.psnr.is_some(), has_target);
        assert!(score.feature_distance.is_some());
        assert_eq!(score.predicted_frame.is_some(), input.outputs.predicted_frame);
        assert_eq!(score.error_map.is_some(), input.outputs.error_map && has_target);
        let maps = if input.outputs.rgb_difference { 3 } else { 0 };
        assert_eq!(score.rgb_difference.len(), maps);
    }
}

#[test]
fn pictures_agree_with_scores_and_stay_in_range() {
    let config = fixture::config();
    let mut scorer = fixture::scorer(&fixture::network(&config));
    let clip = fixture::clip(config.shape, 1, 4);
    let input = ScorerInput { clip: clip.clone(), outputs: Outputs::ALL };
    let score = scorer.score(&[input]).unwrap().remove(0);
    let (frame, errors) = (score.predicted_frame.unwrap(), score.error_map.unwrap());
    assert_eq!((frame.height, frame.width, frame.channels, errors.channels), (24, 24, 3, 1));
    assert!(frame.values.iter().all(|v| (0.0..=1.0).contains(v)));
    let in_range = |plane: &Plane| plane.values.iter().all(|v| (-2.0..=2.0).contains(v));
    assert!(score.rgb_difference.iter().all(in_range));

    // The error map is the squared error of the predicted frame, its mean that of the PSNR.
    let truth = clip.target().unwrap().pixels();
    let square = |i: usize| (f64::from(truth[i]) / 255.0 - f64::from(frame.values[i])).powi(2);
    for (pixel, &error) in errors.values.iter().enumerate() {
        let expected = (0..3).map(|channel| square(pixel * 3 + channel)).sum::<f64>() / 3.0;
        assert!((f64::from(error) - expected).abs() < 1e-5);
    }
    let mse = errors.values.iter().map(|&v| f64::from(v)).sum::<f64>() / errors.values.len() as f64;
    assert!((score.psnr.unwrap().0 + 10.0 * mse.log10()).abs() < 1e-4);
}

#[test]
fn the_factory_describes_and_proves_its_model() {
    let content = fixture::content();
    let checkpoint = Arc::new(Checkpoint::new(content.clone()).unwrap());
    let factory = TchScorerFactory::new(Arc::clone(&checkpoint), options());
    let card = factory.card();
    assert_eq!((card.name.as_str(), card.version.as_str()), ("hall", checkpoint.version()));
    assert_eq!((card.memory_items, card.base_width, card.motion_branch), (7, 3, true));
    assert_eq!((card.device.as_str(), card.calibrations.len()), ("cpu", 1));

    // On a thread of its own, as a worker does it.
    let golden = content.golden.unwrap();
    let recorded = golden.scores();
    let psnr = std::thread::scope(|scope| {
        let score = || {
            let mut scorer = factory.build().unwrap();
            let input = ScorerInput { clip: golden.clip().clone(), outputs: Outputs::NONE };
            scorer.score(&[input]).unwrap()[0].psnr.unwrap().0
        };
        scope.spawn(score).join().unwrap()
    });
    assert!((psnr - recorded.psnr.0).abs() < 1e-4);
    assert_eq!(factory.build().unwrap().score(&[]).unwrap(), []);
}

#[test]
fn weights_that_do_not_compute_the_golden_scores_are_refused() {
    let mut content = fixture::content();
    let bias = content.tensors.get_mut("prediction.last.bias").unwrap();
    *bias = protoguard_checkpoint::Array::from_f32(vec![3], &[2.0, 2.0, 2.0]).unwrap();
    let checkpoint = Arc::new(Checkpoint::new(content).unwrap());
    let error = TchScorerFactory::new(checkpoint, options()).build().err().unwrap();
    assert!(matches!(error, ScorerError::Load { .. }), "{error}");
    assert!(error.to_string().contains("golden clip scores psnr_db"), "{error}");
}

#[test]
fn a_clip_of_another_shape_is_refused() {
    let other = ClipShape::new(3, 32).unwrap();
    let input = ScorerInput { clip: fixture::clip(other, 0, 4), outputs: Outputs::NONE };
    let error = factory().build().unwrap().score(&[input]).unwrap_err();
    let expected = "forward pass failed: shape of clip 0 is 3 past frames of 32 pixels; 3 past frames of 24 pixels is expected";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_result_that_is_not_finite_is_an_error_and_no_perfect_prediction() {
    let config = fixture::config();
    let network = fixture::network(&config);
    for mut parameter in network.trainable_parameters() {
        if parameter.name == "prediction.last.bias" {
            let _ = tch::no_grad(|| parameter.tensor.fill_(f64::NAN));
        }
    }
    let input = ScorerInput { clip: fixture::clip(config.shape, 0, 4), outputs: Outputs::NONE };
    let error = fixture::scorer(&network).score(&[input]).unwrap_err();
    let expected =
        "forward pass failed: squared error of clip 0 is NaN; a finite number is expected";
    assert_eq!(error.to_string(), expected);
}

#[test]
#[allow(clippy::print_stdout, reason = "a skipped test says so")]
fn a_gpu_that_is_not_there_is_a_load_error() {
    if tch::utils::has_cuda() {
        println!("skipped: a GPU is there");
        return;
    }
    let device = DeviceSpec::Cuda(0);
    let checkpoint = Arc::new(Checkpoint::new(fixture::content()).unwrap());
    let options = ScorerOptions { device, ..options() };
    let error = TchScorerFactory::new(checkpoint, options).build().err().unwrap();
    assert!(matches!(error, ScorerError::Load { .. }), "{error}");
}

/// `tests/golden/checkpoint-format-{1,2}.safetensors` were written by the trainers of those formats,
/// from drawn scenes: `train --config presets/demo.toml --side 32 --base-width 2 --memory-items 5
/// --epochs 1`. The numbers are what their own `evaluate` said of the golden clip's frame.
#[test]
fn checkpoints_of_older_formats_answer_as_their_own_programs_did() {
    for format in [1, 2] {
        let name = format!("../../tests/golden/checkpoint-format-{format}.safetensors");
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let checkpoint = Arc::new(Checkpoint::read(&path).unwrap());
        let content = checkpoint.content();
        let clip = content.golden.as_ref().unwrap().clip().clone();
        // Building it compares its answer with the one in the file.
        let mut scorer = TchScorerFactory::new(Arc::clone(&checkpoint), options()).build().unwrap();
        let outputs = Outputs { predicted_frame: true, rgb_difference: true, error_map: true };
        let scores = scorer.score(&[ScorerInput { clip, outputs }]).unwrap();
        assert_eq!(scores[0].rgb_difference.len(), 4);
        let frame = FrameScore {
            psnr: scores[0].psnr.unwrap(),
            feature_distance: scores[0].feature_distance,
        };
        assert!((frame.psnr.0 - 18.904_241_769).abs() < 1e-5, "{format}: {}", frame.psnr.0);
        let distance = frame.feature_distance.unwrap().0;
        assert!((distance - 0.519_102_465).abs() < 1e-6, "{format}: {distance}");
        let [calibration] = content.calibrations.as_slice() else { panic!("one calibration") };
        let regularity = calibration.regularity(&frame).0;
        assert!((regularity - 0.986_400_584).abs() < 1e-5, "{format}: {regularity}");
        let threshold = calibration.threshold(0.01).unwrap().regularity.0;
        assert_eq!(threshold, 0.013_535_908_169_287_722);
        assert!(calibration.detector.is_none(), "neither format knows the served score");
    }
}
