//! The network, memory, losses and scores against `tests/golden/model.py`, an independent float64
//! PyTorch implementation of the method.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod fixture;

use std::collections::BTreeMap;

use protoguard_checkpoint::{
    Array, Dtype, LossConfig, MemoryConfig, MemoryGradient, ModelConfig, ReconstructionLoss,
    UpdateScope, Within,
};
use protoguard_core::{Clip, ClipShape, Frame, Outputs, Scorer, ScorerInput};
use protoguard_model::{Batch, Network, Scatter, TrainingPass, from_array, losses, scores};
use safetensors::{Dtype as FileDtype, SafeTensors};
use tch::{Device, Kind, Tensor};

/// Weights and items are rounded to f32, which leaves items a little off the unit sphere.
const F64_TOLERANCE: f64 = 1e-6;
const F32_TOLERANCE: f64 = 1e-4;
/// In f32 a ReLU near zero may open on one side only, which shows in gradients first.
const F32_GRADIENT_TOLERANCE: f64 = 1e-2;

struct Golden {
    arrays: BTreeMap<String, Array>,
}

impl Golden {
    fn load() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/model.safetensors");
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let array = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
            let dtype = match view.dtype() {
                FileDtype::U8 => Dtype::U8,
                FileDtype::I64 => Dtype::I64,
                FileDtype::F32 => Dtype::F32,
                FileDtype::F64 => Dtype::F64,
                other => panic!("{name} has dtype {other}"),
            };
            let array = Array::new(dtype, view.shape().to_vec(), view.data().to_vec());
            (name.to_owned(), array.unwrap())
        };
        Self { arrays: file.iter().map(array).collect() }
    }

    fn tensor(&self, name: &str) -> Tensor {
        from_array(self.arrays.get(name).unwrap_or_else(|| panic!("no array {name}"))).unwrap()
    }

    fn network(&self, memory: Option<MemoryConfig>, kind: Kind) -> Network {
        let shape = ClipShape::new(2, 24).unwrap();
        let config = ModelConfig { shape, base_width: 4, memory, ..ModelConfig::default() };
        let mut network = Network::new(&config, Device::Cpu).unwrap();
        let weights = self.arrays.iter().filter_map(|(name, array)| {
            Some((name.strip_prefix("weights.")?.to_owned(), array.clone()))
        });
        network.load_arrays(&weights.collect()).unwrap();
        network.set_kind(kind);
        network
    }

    fn clips(&self) -> Vec<Clip> {
        let array = &self.arrays["clips"];
        let shape = ClipShape::new(2, 24).unwrap();
        let clip = |bytes: &[u8]| {
            let frames = bytes.chunks_exact(shape.frame_bytes());
            Clip::new(shape, frames.map(|f| Frame::new(24, 24, f).unwrap()).collect()).unwrap()
        };
        array.bytes().chunks_exact(shape.clip_bytes()).map(clip).collect()
    }

    fn batch(&self, kind: Kind) -> Batch {
        // Scaled in f64 from the start, or the input itself would be off by an f32 rounding.
        let batch = Batch::from_clips(&self.clips(), Device::Cpu).unwrap();
        if kind != Kind::Double {
            return batch;
        }
        let mut exact = batch.to_kind(kind).unwrap();
        exact.input = rescale(&exact.input);
        exact.target = exact.target.as_ref().map(rescale);
        exact
    }

    /// Compares relative to the largest magnitude of the expected array.
    fn expect(&self, name: &str, found: &Tensor, tolerance: f64) {
        let expected = self.tensor(name);
        assert_eq!(found.size(), expected.size(), "shape of {name}");
        let expected = expected.to_kind(Kind::Double);
        let error = (found.to_kind(Kind::Double) - &expected).abs().max().double_value(&[]);
        let scale = expected.abs().max().double_value(&[]).max(1e-3);
        assert!(error <= tolerance * scale, "{name} is off by {error:.3e} at scale {scale:.3e}");
    }
}

/// To the nearest multiple of 1/127.5 in the tensor's kind.
fn rescale(x: &Tensor) -> Tensor {
    ((x + 1.0) * 127.5).round() / 127.5 - 1.0
}

fn memory(update_scope: UpdateScope, update_rate: f64, gradient: MemoryGradient) -> MemoryConfig {
    let items = 6;
    let temperature = 0.7;
    let memory = MemoryConfig { items, temperature, update_rate, ..MemoryConfig::default() };
    MemoryConfig { update_scope, gradient, ..memory }
}

fn default_memory() -> MemoryConfig {
    memory(UpdateScope::Nearest, 0.1, MemoryGradient::ThroughUpdate)
}

/// Each loss of a configuration alone, and its gradient with respect to `z`.
fn check_losses(
    golden: &Golden,
    case: &str,
    (batch, pass): (&Batch, &TrainingPass),
    tolerance: f64,
) {
    for (kind, suffix) in [(ReconstructionLoss::L2Norm, ""), (ReconstructionLoss::Mse, "_mse")] {
        for (within, within_suffix) in [(Within::Paper, ""), (Within::Mean, "_mean")] {
            let config = LossConfig { reconstruction: kind, within, ..LossConfig::default() };
            let terms = losses::compute(&config, batch, pass).unwrap();
            let difference = terms.difference.unwrap();
            let discriminative = terms.discriminative.unwrap();
            let total = &terms.prediction + &difference * 0.1 + &discriminative;
            assert!((total - &terms.total).abs().double_value(&[]) < 1e-5);
            for (name, loss) in [
                (format!("prediction{suffix}"), terms.prediction),
                (format!("difference{suffix}"), difference),
                (format!("discriminative{within_suffix}"), discriminative),
            ] {
                golden.expect(&format!("{case}.loss.{name}"), &loss, tolerance);
                let gradient = Tensor::run_backward(&[loss], &[&pass.z], true, false);
                let tolerance =
                    if pass.z.kind() == Kind::Float { F32_GRADIENT_TOLERANCE } else { tolerance };
                golden.expect(&format!("{case}.gradient.{name}"), &gradient[0], tolerance);
            }
        }
    }
}

fn check_training(case: &str, config: MemoryConfig, (kind, tolerance): (Kind, f64)) {
    let golden = Golden::load();
    let mut network = golden.network(Some(config.clone()), kind);
    let before = network.memory().unwrap().items().copy();
    let batch = golden.batch(kind);
    let pass = network.forward_training(&batch).unwrap();
    let memory = pass.memory.as_ref().unwrap();
    let expect =
        |name: &str, found: &Tensor| golden.expect(&format!("{case}.{name}"), found, tolerance);
    expect("z", &pass.z);
    expect("items", &memory.items);
    expect("similarity", &memory.similarity);
    expect("assignment", &memory.assignment);
    expect("counts", &memory.counts);
    expect("z_hat", &memory.z_hat(&pass.z).unwrap());
    let traces = Scatter::of(memory, Within::Paper).unwrap();
    expect("traces", &Tensor::stack(&[traces.within, traces.between], 1));
    check_losses(&golden, case, (&batch, &pass), tolerance);
    if case == "nearest" {
        expect("prediction", &pass.prediction);
        expect("difference", &pass.motion.as_ref().unwrap().maps);
        for buffer in network.buffers() {
            let name = format!("nearest.{}", buffer.name);
            if golden.arrays.contains_key(&name) {
                golden.expect(&name, &buffer.tensor, tolerance);
            }
        }
    }
    assert_eq!(network.memory().unwrap().items(), &before, "the forward stored something");
    network.commit_memory(&pass).unwrap();
    expect("items", network.memory().unwrap().items());
}

const DOUBLE: (Kind, f64) = (Kind::Double, F64_TOLERANCE);

#[test]
fn training_with_the_nearest_scope() {
    check_training("nearest", default_memory(), DOUBLE);
}

#[test]
fn training_with_the_nearest_scope_in_f32() {
    check_training("nearest", default_memory(), (Kind::Float, F32_TOLERANCE));
}

#[test]
fn training_with_the_papers_scope() {
    let config = memory(UpdateScope::All, 0.5, MemoryGradient::ThroughUpdate);
    check_training("all", config, DOUBLE);
}

#[test]
fn training_with_a_constant_memory() {
    check_training("constant", memory(UpdateScope::Nearest, 0.1, MemoryGradient::None), DOUBLE);
}

#[test]
fn training_with_the_memory_as_parameter() {
    check_training("param", memory(UpdateScope::Nearest, 0.1, MemoryGradient::Param), DOUBLE);
}

#[test]
fn training_with_raw_queries() {
    let config = MemoryConfig { normalize_query: false, ..default_memory() };
    check_training("raw", config, DOUBLE);
}

fn check_inference(kind: Kind, tolerance: f64) {
    let golden = Golden::load();
    let network = golden.network(Some(default_memory()), kind);
    let batch = golden.batch(kind);
    let pass = network.forward_inference(&batch.input, true).unwrap();
    let memory = pass.memory.unwrap();
    let expect =
        |name: &str, found: &Tensor| golden.expect(&format!("inference.{name}"), found, tolerance);
    let z = network.encode(&batch.input).unwrap().z;
    expect("z_hat", &memory.z_hat(&z).unwrap());
    expect("z", &z);
    expect("assignment", &memory.assignment);
    expect("prediction", &pass.prediction);
    expect("difference", &pass.motion.unwrap().maps);
    expect("feature_distance", &scores::feature_distance(&memory).unwrap());
    expect("query_cosine", &scores::query_cosine(&memory).unwrap());
    let item_cosine_sum = scores::item_cosine_sum(network.memory().unwrap().items()).unwrap();
    expect("item_cosine_sum", &Tensor::from(item_cosine_sum));
}

#[test]
fn inference() {
    check_inference(Kind::Double, F64_TOLERANCE);
    check_inference(Kind::Float, F32_TOLERANCE);
}

#[test]
fn scores_of_the_port() {
    let golden = Golden::load();
    let network = golden.network(Some(default_memory()), Kind::Float);
    let clips = golden.clips().into_iter();
    let inputs: Vec<ScorerInput> =
        clips.map(|clip| ScorerInput { clip, outputs: Outputs::NONE }).collect();
    let scores = fixture::scorer(&network).score(&inputs).unwrap();
    let psnr: Vec<f64> = scores.iter().map(|score| score.psnr.unwrap().0).collect();
    let distance: Vec<f64> = scores.iter().map(|s| s.feature_distance.unwrap().0).collect();
    golden.expect("inference.psnr_db", &Tensor::from_slice(&psnr), 1e-6);
    golden.expect("inference.feature_distance", &Tensor::from_slice(&distance), 1e-5);
}

#[test]
fn prediction_without_a_memory() {
    let golden = Golden::load();
    let network = golden.network(None, Kind::Double);
    let batch = golden.batch(Kind::Double);
    let pass = network.forward_inference(&batch.input, false).unwrap();
    assert!(pass.memory.is_none() && pass.motion.is_none());
    golden.expect("inference.prediction_without_memory", &pass.prediction, F64_TOLERANCE);
}
