//! The graph that is served computes what the network computes.
#![allow(clippy::print_stdout, reason = "a skipped test says so")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod fixture;

use protoguard_checkpoint::{
    LossConfig, MemoryConfig, MemoryUpdate, ModelConfig, MotionTarget, Precision,
};
use protoguard_core::{ClipScore, ClipShape, Outputs, Plane, Scorer, ScorerInput};
use protoguard_model::precision::settled_on;
use protoguard_model::{Batch, InferenceGraph, Network, TchScorer, losses, measure_ranges, scores};
use tch::{Device, Tensor};

/// A network whose BatchNorm has seen something: folding untrained statistics would prove little.
fn trained(config: &ModelConfig) -> Network {
    let mut network = fixture::network(config);
    let batch = Batch::from_clips(&fixture::clips(config.shape, 4), Device::Cpu).unwrap();
    use tch::nn::OptimizerConfig;
    let mut optimizer = tch::nn::Adam::default().build(network.variables(), 3e-3).unwrap();
    let objective = LossConfig { discriminative_weight: 0.01, ..LossConfig::default() };
    for _ in 0..8 {
        let pass = network.forward_training(&batch).unwrap();
        let terms = losses::compute(&objective, &batch, &pass).unwrap();
        optimizer.backward_step(&terms.total);
        network.commit_memory(&pass).unwrap();
    }
    network
}

/// `[n, c, S, S]` → `[S, S, c]` by picture.
fn pictures(x: &Tensor, frames: i64) -> Vec<Vec<f32>> {
    let (batch, stacked, height, width) = x.size4().unwrap();
    let x = x.reshape([batch * frames, stacked / frames, height, width]).permute([0, 2, 3, 1]);
    let values = Vec::<f32>::try_from(&x.contiguous().flatten(0, -1)).unwrap();
    let each = values.len() / (batch * frames) as usize;
    values.chunks(each).map(<[f32]>::to_vec).collect()
}

fn largest_difference(planes: &[Plane], expected: &[Vec<f32>]) -> f32 {
    assert_eq!(planes.len(), expected.len());
    let pairs = planes.iter().zip(expected).flat_map(|(plane, expected)| {
        assert_eq!(plane.values.len(), expected.len());
        plane.values.iter().zip(expected)
    });
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// What the training network says of four clips, and what a graph of it does.
struct Compared {
    frames: f32,
    differences: f32,
    psnr_db: f64,
    distance: f64,
}

fn compare(config: &ModelConfig, precision: Precision) -> Compared {
    let network = trained(config);
    let clips = fixture::clips(config.shape, 4);
    let ranges = measure_ranges(&network, &clips).unwrap();
    let batch = Batch::from_clips(&clips, Device::Cpu).unwrap();
    let pass = network.forward_inference(&batch.input, true).unwrap();
    let mut scorer =
        TchScorer::new(InferenceGraph::with_ranges(&network, precision, &ranges).unwrap());
    assert_eq!(scorer.graph().precision(), precision);
    let input = |clip| ScorerInput { clip, outputs: Outputs::ALL };
    let inputs: Vec<ScorerInput> = clips.into_iter().map(input).collect();
    let found: Vec<ClipScore> = scorer.score(&inputs).unwrap();

    let frames: Vec<Plane> = found.iter().flat_map(|score| score.predicted_frame.clone()).collect();
    let maps: Vec<Plane> = found.iter().flat_map(|score| score.rgb_difference.clone()).collect();
    let past_frames = config.shape.past_frames() as i64;
    let expected_maps = pass
        .motion
        .and_then(|maps| maps.rgb_difference().unwrap())
        .map_or(Vec::new(), |x| pictures(&x.clamp(-2.0, 2.0), past_frames));
    let errors = scores::error_map(&pass.prediction, batch.required_target().unwrap()).unwrap();
    let mse = Vec::<f64>::try_from(&scores::mean_squared_error(&errors).unwrap()).unwrap();
    let psnr = mse.iter().zip(&found).map(|(mse, score)| {
        (protoguard_core::PsnrDb::from_mse(*mse).0 - score.psnr.unwrap().0).abs()
    });
    let expected = pass
        .memory
        .map(|memory| Vec::<f64>::try_from(&scores::feature_distance(&memory).unwrap()).unwrap());
    let distance = expected
        .iter()
        .flatten()
        .zip(&found)
        .map(|(expected, score)| (expected - score.feature_distance.unwrap().0).abs());
    Compared {
        frames: largest_difference(&frames, &pictures(&((pass.prediction + 1.0) * 0.5), 1)),
        differences: largest_difference(&maps, &expected_maps),
        psnr_db: psnr.fold(0.0, f64::max),
        distance: distance.fold(0.0, f64::max),
    }
}

fn architectures() -> Vec<ModelConfig> {
    let config = fixture::config();
    let many = MemoryConfig { items: 40, ..MemoryConfig::default() };
    let sharp = MemoryConfig { items: 7, temperature: 0.1, ..MemoryConfig::default() };
    let means = MemoryConfig { update: MemoryUpdate::Ema, ..MemoryConfig::default() };
    let raw = MemoryConfig { items: 7, normalize_query: false, ..means };
    let larger = ClipShape::new(4, 40).unwrap();
    vec![
        // Fewer items than channels, which folds them; more, which does not; none.
        config.clone(),
        ModelConfig { memory: Some(many), ..config.clone() },
        ModelConfig { memory: Some(sharp), shape: larger, base_width: 8, ..config.clone() },
        ModelConfig { memory: None, ..config.clone() },
        ModelConfig { motion_branch: false, ..config.clone() },
        ModelConfig { motion_target: MotionTarget::BrighteningDarkening, ..config.clone() },
        ModelConfig { motion_target: MotionTarget::Flow, memory: Some(raw), ..config },
    ]
}

#[test]
fn in_f32_it_is_the_network() {
    for config in architectures() {
        let Compared { frames, differences, psnr_db, distance } = compare(&config, Precision::F32);
        assert!(frames <= 1e-5, "{config:?}: predicted frames differ by {frames}");
        assert!(differences <= 1e-4, "{config:?}: RGB differences differ by {differences}");
        assert!(psnr_db <= 1e-4, "{config:?}: PSNR differs by {psnr_db} dB");
        assert!(distance <= 1e-5, "{config:?}: feature distances differ by {distance}");
    }
}

/// The largest differences that are accepted, in the order of [`Compared`].
struct Limits {
    frames: f32,
    psnr_db: f64,
    distance: f64,
}

fn assert_close(precision: Precision, limits: &Limits) {
    for config in architectures() {
        let Compared { frames, psnr_db, distance, .. } = compare(&config, precision);
        assert!(frames <= limits.frames, "{config:?}: predicted frames differ by {frames}");
        assert!(psnr_db <= limits.psnr_db, "{config:?}: PSNR differs by {psnr_db} dB");
        assert!(distance <= limits.distance, "{config:?}: feature distances differ by {distance}");
    }
}

#[test]
fn in_bf16_scores_stay_close() {
    // Whether it is faster in it is another question.
    if let Err(error) = settled_on(Precision::Bf16, Device::Cpu) {
        let refused = InferenceGraph::new(&fixture::network(&fixture::config()), Precision::Bf16);
        assert_eq!(refused.unwrap_err(), error.clone().into());
        println!("skipped: {error}");
        return;
    }
    assert_close(Precision::Bf16, &Limits { frames: 0.05, psnr_db: 0.1, distance: 0.01 });
}

#[test]
fn in_int8_scores_stay_close() {
    assert_close(Precision::Int8, &Limits { frames: 0.1, psnr_db: 0.2, distance: 0.02 });
}

#[test]
fn int8_without_ranges_names_the_layer_and_the_remedy() {
    let network = fixture::network(&fixture::config());
    let error = InferenceGraph::new(&network, Precision::Int8).unwrap_err().to_string();
    assert_eq!(
        error,
        "checkpoint has no activation ranges of encoder.1.conv1, which int8 needs; \
         `protoguard-trainer calibrate` measures them"
    );
}
