//! Checkpoints that somebody broke: an error each, never a panic.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up should fail loudly")]

mod fixture;

use std::fs;
use std::path::PathBuf;

use protoguard_core::{Outputs, Scorer, ScorerInput};
use protoguard_fuzz::{Budget, Mutator, trial};
use protoguard_model::checkpoint::{
    Checkpoint, CheckpointContent, CheckpointError, MemoryConfig, MemoryUpdate, ModelConfig,
    MotionTarget, Precision,
};
use protoguard_model::{InferenceGraph, Network, TchScorer, measure_ranges};
use serde_json::Value;
use tch::Device;
use tempfile::TempDir;

/// Names and values that the reader looks for.
const WORDS: [&str; 14] = [
    "\"data_offsets\":[0,0]",
    "\"shape\":[18446744073709551615,2]",
    "\"dtype\":\"F64\"",
    "__metadata__",
    "protoguard",
    "format_version",
    "content_hash",
    "\"memory\":null",
    "\"base_width\":0",
    "\"side\":2048",
    "\"items\":65536",
    "activation_ranges",
    "golden.clip",
    "optimizer.",
];

/// A whole checkpoint, taken apart.
struct Parts {
    whole: Vec<u8>,
    header: Vec<u8>,
    data: Vec<u8>,
    /// The JSON within the header.
    metadata: String,
    folder: TempDir,
}

impl Parts {
    fn of(content: CheckpointContent) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("whole.safetensors");
        Checkpoint::new(content).unwrap().write(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        let length = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        let (header, data) = whole[8..].split_at(length);
        let json: Value = serde_json::from_slice(header).unwrap();
        let metadata = json["__metadata__"]["protoguard"].as_str().unwrap().to_owned();
        Self { header: header.to_vec(), data: data.to_vec(), metadata, whole, folder }
    }

    /// A file whose header has the length that it says.
    fn with_header(&self, header: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header, &self.data].concat()
    }

    fn with_metadata(&self, metadata: &[u8]) -> Vec<u8> {
        self.with_header(&self.header_with(metadata))
    }

    fn header_with(&self, metadata: &[u8]) -> Vec<u8> {
        let mut json: Value = serde_json::from_slice(&self.header).unwrap();
        json["__metadata__"]["protoguard"] = String::from_utf8_lossy(metadata).into();
        json.to_string().into_bytes()
    }

    /// Reads what has other metadata and other numbers, and the hash of both, as somebody writes it
    /// who means to: the error says which hash it would have to be.
    fn read_rehashed(&self, metadata: &[u8], data: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let file = |metadata: &[u8]| {
            let header = self.header_with(metadata);
            [&(header.len() as u64).to_le_bytes()[..], &header, data].concat()
        };
        match self.read(&file(metadata)) {
            Err(CheckpointError::Hash { found, .. }) => {
                let mut envelope: Value =
                    serde_json::from_str(&String::from_utf8_lossy(metadata)).unwrap();
                envelope["content_hash"] = found.into();
                let read = self.read(&file(envelope.to_string().as_bytes()));
                assert!(!matches!(read, Err(CheckpointError::Hash { .. })), "{read:?}");
                read
            }
            other => other,
        }
    }

    fn read(&self, bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let path = self.path("broken.safetensors");
        fs::write(&path, bytes).unwrap();
        Checkpoint::read(&path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn a_broken_checkpoint_is_an_error() {
    let parts = Parts::of(fixture::content());
    assert_eq!(parts.read(&parts.with_header(&parts.header)), parts.read(&parts.whole));
    let whole = parts.read(&parts.with_metadata(parts.metadata.as_bytes())).unwrap();

    let mut budget = Budget::of(1500);
    let mutator = |input: &[u8]| Mutator::new(budget.seed(), vec![input.to_vec()]);
    let mut files = mutator(&parts.whole);
    let mut headers = mutator(&parts.header).with_words(WORDS);
    let mut metadata = mutator(parts.metadata.as_bytes()).with_words(WORDS);
    let (mut refused, mut turn) = (0, 0);
    while budget.spend() {
        turn += 1;
        let input = match turn % 3 {
            0 => files.next_input(),
            1 => parts.with_header(&headers.next_input()),
            _ => parts.with_metadata(&metadata.next_input()),
        };
        trial(&input, |input| match parts.read(input) {
            // The hash covers all that is read; a space more or less is not.
            Ok(checkpoint) => assert_eq!(checkpoint, whole),
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        });
    }
    assert!(refused * 2 > turn, "{refused} of {turn} were refused");
}

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

/// A file of 2 MB may ask for any side: nothing in it is as large.
#[test]
fn side_and_items_that_ask_for_too_much_together_are_refused() {
    let content = fixture::content();
    for items in [7, 2000, 16_384, 65_536] {
        let memory = Some(MemoryConfig { items, ..MemoryConfig::default() });
        let model = ModelConfig { base_width: 1, memory, ..fixture::config() };
        let tensors = fixture::network(&model).to_arrays().unwrap();
        for side in [24, 512, 1024, 2048] {
            let shape = protoguard_core::ClipShape::new(3, side).unwrap();
            let made = Checkpoint::new(CheckpointContent {
                model: ModelConfig { shape, ..model.clone() },
                tensors: tensors.clone(),
                golden: None,
                ..content.clone()
            });
            match made {
                Ok(_) => assert!((side / 8).pow(2) * items <= 1 << 24, "{side}, {items}"),
                Err(CheckpointError::Model(error)) => {
                    assert!((side / 8).pow(2) * items > 1 << 24, "{side}, {items}");
                    assert_eq!(error.field, "(shape.side / 8)² × memory.items");
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
}
