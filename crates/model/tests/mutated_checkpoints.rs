//! Checkpoints that somebody broke and whose hashes are right: scored or refused, never a panic.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up should fail loudly")]

mod fixture;
#[path = "../../checkpoint/tests/parts/mod.rs"]
mod parts;

use protoguard_checkpoint::{
    Checkpoint, CheckpointContent, MemoryConfig, MemoryUpdate, ModelConfig, MotionTarget, Precision,
};
use protoguard_core::{Outputs, Scorer, ScorerInput};
use protoguard_fuzz::{Budget, Mutator, trial};
use protoguard_model::{InferenceGraph, Network, TchScorer, measure_ranges};
use tch::Device;

use parts::{Parts, WORDS};

/// Small networks of every kind; the first alone has its golden clip, which other numbers do not
/// reproduce.
fn contents() -> Vec<CheckpointContent> {
    let config = fixture::config();
    let with_memory = |change: fn(&mut MemoryConfig)| {
        let mut memory = config.memory.clone().unwrap();
        change(&mut memory);
        ModelConfig { memory: Some(memory), ..config.clone() }
    };
    let running_means = |memory: &mut MemoryConfig| {
        (memory.update, memory.normalize_query) = (MemoryUpdate::Ema, false)
    };
    let motion_target = MotionTarget::BrighteningDarkening;
    let configs = [
        ModelConfig { base_width: 4, ..config.clone() },
        ModelConfig { motion_target, ..with_memory(running_means) },
        ModelConfig { memory: None, motion_branch: false, ..config.clone() },
    ];
    let of_config = |model: ModelConfig| {
        let network = fixture::network(&model);
        let clip = fixture::clip(model.shape, 5, 4);
        CheckpointContent {
            activation_ranges: measure_ranges(&network, &[clip]).unwrap(),
            golden: None,
            tensors: network.to_arrays().unwrap(),
            model,
            ..fixture::content()
        }
    };
    [fixture::content()].into_iter().chain(configs.map(of_config)).collect()
}

/// Builds a replica and scores a clip: why it cannot, if so.
fn score(checkpoint: &Checkpoint, precision: Precision) -> Result<(), String> {
    let network =
        Network::from_checkpoint(checkpoint, Device::Cpu).map_err(|error| error.to_string())?;
    let ranges = &checkpoint.content().activation_ranges;
    let graph = InferenceGraph::with_ranges(&network, precision, ranges)
        .map_err(|error| error.to_string())?;
    let shape = checkpoint.content().model.shape;
    let clip = fixture::clip(shape, 3, shape.frames());
    let input = ScorerInput { clip, outputs: Outputs::ALL };
    let scores = TchScorer::new(graph).score(&[input]).map_err(|error| error.to_string())?;
    let [score] = &scores[..] else { panic!("{} scores of a clip", scores.len()) };
    assert!(score.psnr.unwrap().0.is_finite());
    assert!(score.feature_distance.is_none_or(|distance| distance.0.is_finite()));
    let maps = score.maps.as_ref().unwrap();
    let planes = [&maps.error, &maps.moved, &maps.speed].into_iter().chain(&maps.feature_distance);
    assert!(planes.flat_map(|plane| plane.values.iter()).all(|value| value.is_finite()));
    Ok(())
}

#[test]
fn what_hashes_right_is_scored_or_refused() {
    let all: Vec<Parts> = contents().into_iter().map(Parts::of).collect();
    let mut budget = Budget::of(120);
    let numbers = [0.0, -0.0, 1.0, -1.0, 1e-38, 3e38, -3e38, 1e19, f32::INFINITY, f32::NAN];
    let numbers = numbers.map(f32::to_le_bytes);
    let mut mutators: Vec<[Mutator; 2]> = all
        .iter()
        .map(|parts| {
            let of = |input: &[u8]| Mutator::new(budget.seed(), vec![input.to_vec()]);
            [of(parts.metadata.as_bytes()).with_words(WORDS), of(&parts.data).with_words(numbers)]
        })
        .collect();
    let (mut turn, mut scored) = (0, 0);
    while budget.spend() {
        turn += 1;
        let index = turn % all.len();
        let (parts, [metadata, data]) = (&all[index], &mut mutators[index]);
        // Metadata alone are seldom whole, so that numbers get most turns.
        let (mut metadata_of_turn, mut data_of_turn) =
            (parts.metadata.clone().into_bytes(), parts.data.clone());
        if turn % 5 == 0 {
            metadata_of_turn = metadata.next_input();
        } else {
            data_of_turn = data.next_input();
            data_of_turn.resize(parts.data.len(), 0);
        }
        let input = [metadata_of_turn.clone(), data_of_turn.clone()].concat();
        trial(&input, |_| {
            let checkpoint = match parts.read_rehashed(&metadata_of_turn, &data_of_turn) {
                Ok(checkpoint) => checkpoint,
                Err(error) => return assert!(!error.to_string().is_empty()),
            };
            for precision in [Precision::F32, Precision::Int8] {
                match score(&checkpoint, precision) {
                    Ok(()) => scored += 1,
                    Err(reason) => assert!(!reason.is_empty()),
                }
            }
        });
    }
    assert!(scored * 4 > turn, "{scored} scores in {turn} turns");
}
