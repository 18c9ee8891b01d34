//! The network's shapes, switches and gradients.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod fixture;

use std::collections::{BTreeMap, BTreeSet};

use fixture::gradient_magnitude;
use protoguard_checkpoint::{
    LossConfig, MemoryConfig, MemoryGradient, MemoryUpdate, ModelConfig, MotionTarget, Precision,
};
use protoguard_core::ClipShape;
use protoguard_model::{Batch, Network, TrainingPass, losses};
use tch::{Device, Kind, Tensor};

fn training(config: &ModelConfig) -> (Network, Batch, TrainingPass) {
    let network = fixture::network(config);
    let batch = Batch::from_clips(&fixture::clips(config.shape, 2), Device::Cpu).unwrap();
    let pass = network.forward_training(&batch).unwrap();
    (network, batch, pass)
}

#[test]
fn parameters_at_full_size_are_as_many_as_the_methods() {
    let network = fixture::network(&ModelConfig::default());
    let count = |branch: &str| -> usize {
        let parameters = network.trainable_parameters().into_iter();
        parameters.filter(|p| p.name.starts_with(branch)).map(|p| p.tensor.numel()).sum()
    };
    assert_eq!(count("encoder."), 4_693_376);
    assert_eq!(count("prediction."), 8_598_147);
    assert_eq!(count("motion."), 7_829_196);
    assert_eq!(count(""), 4_693_376 + 8_598_147 + 7_829_196, "the memory is no parameter");
    assert_eq!(network.memory().unwrap().items().size(), [100, 512]);
}

#[test]
fn shapes_hold_for_any_side_width_and_number_of_frames() {
    for (past_frames, side, base_width) in [(1, 16, 1), (4, 40, 5), (3, 24, 3)] {
        let shape = ClipShape::new(past_frames, side).unwrap();
        let config = ModelConfig { shape, base_width, ..fixture::config() };
        let (_, batch, pass) = training(&config);
        let (channels, height) = (8 * base_width as i64, side as i64 / 8);
        assert_eq!(pass.z.size(), [2, channels, height, height]);
        assert_eq!(pass.memory.unwrap().z_hat(&pass.z).unwrap().size(), pass.z.size());
        assert_eq!(pass.prediction.size(), batch.required_target().unwrap().size());
        assert_eq!(pass.motion.unwrap().maps.size(), batch.input.size());
    }
}

#[test]
fn same_seed_same_weights() {
    let config = fixture::config();
    let arrays = || fixture::network(&config).to_arrays().unwrap();
    assert_eq!(arrays(), arrays());
}

#[test]
fn fresh_items_are_unit_vectors_in_all_directions() {
    let config = ModelConfig { base_width: 16, ..fixture::config() };
    let network = fixture::network(&config);
    let items = network.memory().unwrap().items();
    let gram = items.matmul(&items.tr());
    let identity = Tensor::eye(7, (Kind::Float, Device::Cpu));
    assert!((gram.diag(0) - 1.0).abs().max().double_value(&[]) < 1e-5);
    assert!((gram - identity).abs().max().double_value(&[]) < 0.5);
}

#[test]
fn without_a_memory_the_decoders_read_normalised_queries() {
    let config = ModelConfig { memory: None, ..fixture::config() };
    let (mut network, batch, pass) = training(&config);
    assert!(pass.memory.is_none() && network.memory().is_none());
    let terms = losses::compute(&LossConfig::default(), &batch, &pass).unwrap();
    assert!(terms.discriminative.is_none() && terms.difference.is_some());
    terms.total.backward();
    assert!(gradient_magnitude(&network, "encoder.4") > 0.0);
    network.commit_memory(&pass).unwrap();
    let z = network.encode(&batch.input).unwrap().z;
    let norms = network.recall(&z).unwrap().z_hat.norm_scalaropt_dim(2, [1i64].as_slice(), false);
    assert!((norms - 1.0).abs().max().double_value(&[]) < 1e-5);
}

#[test]
fn without_a_motion_branch_there_is_no_difference() {
    let config = ModelConfig { motion_branch: false, ..fixture::config() };
    let (network, batch, pass) = training(&config);
    assert!(pass.motion.is_none());
    let losses = losses::compute(&LossConfig::default(), &batch, &pass).unwrap().read().unwrap();
    assert_eq!(losses.difference, None);
    assert!((losses.total - losses.prediction - losses.discriminative.unwrap()).abs() < 1e-4);
    assert!(network.forward_inference(&batch.input, true).unwrap().motion.is_none());
}

#[test]
fn weight_0_turns_the_discriminative_loss_off() {
    let (_, batch, pass) = training(&fixture::config());
    let off = LossConfig { discriminative_weight: 0.0, ..LossConfig::default() };
    let losses = losses::compute(&off, &batch, &pass).unwrap().read().unwrap();
    assert_eq!((losses.discriminative, losses.gradient), (None, None));
    let expected = losses.prediction + 0.1 * losses.difference.unwrap();
    assert!((losses.total - expected).abs() < 1e-5 * expected);
}

#[test]
fn the_difference_is_measured_against_zeros() {
    for motion_target in [MotionTarget::RgbDifference, MotionTarget::BrighteningDarkening] {
        let (_, batch, pass) = training(&ModelConfig { motion_target, ..fixture::config() });
        let losses = losses::compute(&LossConfig::default(), &batch, &pass).unwrap();
        let x_diff = batch.difference().unwrap().flatten(1, -1);
        let norms = x_diff.norm_scalaropt_dim(2, [1i64].as_slice(), false);
        let expected = norms.mean(Kind::Double).double_value(&[]);
        let found = losses.read().unwrap().difference_zero.unwrap();
        assert!((found - expected).abs() < 1e-5 * expected, "{motion_target:?}: {found}");
    }
}

/// Each pixel of a column pattern 0, 1, 0, 1 differs from its neighbours in a row by 1; a flat
/// prediction's by 0, and one that is inverted has the same gradients.
#[test]
fn the_gradient_loss_is_of_magnitudes() {
    let (_, mut batch, pass) = training(&fixture::config());
    let columns = Tensor::arange(24, (Kind::Int64, Device::Cpu)).fmod(2).to_kind(Kind::Float);
    let columns = columns.expand([2, 3, 24, 24], false);
    batch.target = Some(columns.shallow_clone());
    let config = LossConfig { gradient_weight: 2.0, ..LossConfig::default() };
    for (prediction, expected) in [(columns.zeros_like(), 1.0), (1.0 - &columns, 0.0)] {
        let pass = TrainingPass {
            prediction,
            motion: None,
            memory: None,
            sped_up: None,
            z: pass.z.copy(),
        };
        let losses = losses::compute(&config, &batch, &pass).unwrap().read().unwrap();
        assert_eq!(losses.gradient, Some(expected));
        assert!((losses.total - losses.prediction - 2.0 * expected).abs() < 1e-4);
    }
}

#[test]
fn running_means_commit_queries_and_take_no_gradient() {
    let memory = MemoryConfig { update: MemoryUpdate::Ema, ..fixture::config().memory.unwrap() };
    let config = ModelConfig { memory: Some(memory), ..fixture::config() };
    let (mut network, batch, first) = training(&config);
    network.commit_memory(&first).unwrap();
    let before = network.memory().unwrap().items().copy();
    let pass = network.forward_training(&batch).unwrap();
    let off = LossConfig { discriminative_weight: 0.0, ..LossConfig::default() };
    let terms = losses::compute(&off, &batch, &pass).unwrap();
    let losses = terms.read().unwrap();
    let mean = pass.memory.as_ref().unwrap().nearest_similarity().unwrap().mean(Kind::Double);
    let expected = 2.0 - 2.0 * mean.double_value(&[]);
    assert!((losses.commitment.unwrap() - expected).abs() < 1e-5, "{losses:?}");
    terms.commitment.unwrap().backward();
    assert!(gradient_magnitude(&network, "encoder.4") > 0.0);
    assert!(network.trainable_parameters().iter().all(|p| p.name != "memory.items"));
    network.commit_memory(&pass).unwrap();
    assert_ne!(network.memory().unwrap().items(), &before);
    // A network of a checkpoint has started, and has no sums.
    let arrays = network.to_arrays().unwrap();
    assert!(!arrays.keys().any(|name| name.contains("ema")));
    let mut restored = fixture::network(&config);
    assert!(!restored.memory().unwrap().has_started());
    restored.load_arrays(&arrays).unwrap();
    assert!(restored.memory().unwrap().has_started());
}

#[test]
fn the_difference_loss_alone_reaches_the_encoder() {
    for gradient in [MemoryGradient::ThroughUpdate, MemoryGradient::None, MemoryGradient::Param] {
        let memory = MemoryConfig { gradient, ..fixture::config().memory.unwrap() };
        let config = ModelConfig { memory: Some(memory), ..fixture::config() };
        let (network, batch, pass) = training(&config);
        let terms = losses::compute(&LossConfig::default(), &batch, &pass).unwrap();
        terms.difference.unwrap().backward();
        assert!(gradient_magnitude(&network, "encoder.1") > 0.0, "{gradient:?}");
        assert!(gradient_magnitude(&network, "motion") > 0.0, "{gradient:?}");
        assert_eq!(gradient_magnitude(&network, "prediction"), 0.0);
    }
}

#[test]
fn items_are_trained_only_as_a_parameter() {
    let is_trained = |gradient| {
        let memory = MemoryConfig { gradient, ..fixture::config().memory.unwrap() };
        let config = ModelConfig { memory: Some(memory), ..fixture::config() };
        let (mut network, batch, pass) = training(&config);
        let terms = losses::compute(&LossConfig::default(), &batch, &pass).unwrap();
        terms.total.backward();
        tch::no_grad(|| {
            for mut parameter in network.trainable_parameters() {
                let step = parameter.tensor.grad() * 0.1;
                let _ = parameter.tensor.g_sub_(&step);
            }
        });
        network.commit_memory(&pass).unwrap();
        let norms =
            network.memory().unwrap().items().norm_scalaropt_dim(2, [1i64].as_slice(), false);
        assert!((norms - 1.0).abs().max().double_value(&[]) < 1e-5, "{gradient:?}");
        network.trainable_parameters().iter().any(|p| p.name == "memory.items")
    };
    assert!(is_trained(MemoryGradient::Param));
    assert!(!is_trained(MemoryGradient::ThroughUpdate) && !is_trained(MemoryGradient::None));
}

#[test]
fn parameters_and_buffers_share_out_the_tensors() {
    let network = fixture::network(&fixture::config());
    let names = |tensors: Vec<protoguard_model::NamedTensor>| -> BTreeSet<String> {
        tensors.into_iter().map(|named| named.name).collect()
    };
    let (parameters, buffers) = (names(network.trainable_parameters()), names(network.buffers()));
    assert!(parameters.is_disjoint(&buffers) && buffers.contains("memory.items"));
    let all: BTreeSet<String> = network.to_arrays().unwrap().into_keys().collect();
    assert_eq!(parameters.union(&buffers).cloned().collect::<BTreeSet<_>>(), all);
    assert_eq!(parameters.len(), network.variables().trainable_variables().len());
}

#[test]
fn evaluation_changes_nothing() {
    let config = fixture::config();
    let (network, batch, _) = training(&config);
    let before: BTreeMap<_, _> = network.to_arrays().unwrap();
    let pass = network.forward_inference(&batch.input, true).unwrap();
    assert!(!pass.prediction.requires_grad());
    assert_eq!(network.to_arrays().unwrap(), before);
}

#[test]
fn training_statistics_are_followed() {
    let config = fixture::config();
    let network = fixture::network(&config);
    let before = network.to_arrays().unwrap();
    let batch = Batch::from_clips(&fixture::clips(config.shape, 2), Device::Cpu).unwrap();
    let pass = network.forward_training(&batch).unwrap();
    let after = network.to_arrays().unwrap();
    assert_ne!(before["encoder.1.norm1.running_mean"], after["encoder.1.norm1.running_mean"]);
    assert_eq!(before["memory.items"], after["memory.items"], "only the commit stores M'");
    let mut network = network;
    network.commit_memory(&pass).unwrap();
    assert_ne!(before["memory.items"], network.to_arrays().unwrap()["memory.items"]);
}

#[test]
fn in_f32_frozen_statistics_stay_and_are_what_scoring_uses() {
    assert_frozen_statistics(Precision::F32);
}

#[test]
fn in_bf16_frozen_statistics_stay_and_are_what_scoring_uses() {
    assert_frozen_statistics(Precision::Bf16);
}

#[allow(clippy::print_stdout, reason = "a skipped test says so")]
fn assert_frozen_statistics(precision: Precision) {
    let mut network = fixture::network(&fixture::config());
    let batch = Batch::from_clips(&fixture::clips(network.config().shape, 2), Device::Cpu);
    let batch = batch.unwrap();
    // Other statistics than those of a fresh network.
    network.forward_training(&batch).unwrap();
    let statistics = |network: &Network| {
        let mut arrays = network.to_arrays().unwrap();
        arrays.retain(|name, _| name.contains("running_"));
        arrays
    };
    let before = statistics(&network);
    if let Err(error) = network.set_training_precision(precision) {
        println!("skipped: {error}");
        return;
    }
    network.freeze_norm(true);
    let pass = network.forward_training(&batch).unwrap();
    assert_eq!(statistics(&network), before);
    let z = network.encode(&batch.input).unwrap().z;
    let difference = (pass.z.to_kind(Kind::Float) - &z).abs().max().double_value(&[]);
    let allowed = if precision == Precision::F32 { 1e-6 } else { 0.05 };
    assert!(difference <= allowed * z.abs().max().double_value(&[]), "{difference}");
    let terms = losses::compute(&LossConfig::default(), &batch, &pass).unwrap();
    terms.total.backward();
    assert!(gradient_magnitude(&network, "encoder.1.norm1") > 0.0);
}

#[test]
fn training_lowers_the_loss() {
    let config = fixture::config();
    let mut network = fixture::network(&config);
    let batch = Batch::from_clips(&fixture::clips(config.shape, 4), Device::Cpu).unwrap();
    let objective = LossConfig { discriminative_weight: 0.01, ..LossConfig::default() };
    use tch::nn::OptimizerConfig;
    let mut optimizer = tch::nn::Adam::default().build(network.variables(), 3e-3).unwrap();
    let mut prediction = Vec::new();
    for _ in 0..40 {
        let pass = network.forward_training(&batch).unwrap();
        let terms = losses::compute(&objective, &batch, &pass).unwrap();
        optimizer.backward_step(&terms.total);
        network.commit_memory(&pass).unwrap();
        prediction.push(terms.read().unwrap().prediction);
    }
    let (first, last) = (prediction[0], prediction[39]);
    assert!(last < 0.8 * first, "loss went from {first} to {last}");
}
