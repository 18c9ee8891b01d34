//! Checkpoints that somebody broke: an error each, never a panic.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up should fail loudly")]

mod fixture;
mod parts;

use protoguard_checkpoint::{
    Checkpoint, CheckpointContent, CheckpointError, MemoryConfig, ModelConfig,
};
use protoguard_core::ClipShape;
use protoguard_fuzz::{Budget, Mutator, trial};

use parts::{Parts, WORDS};

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

/// A file of 2 MB may ask for any side: nothing in it is as large.
#[test]
fn side_and_items_that_ask_for_too_much_together_are_refused() {
    let content = fixture::content();
    for items in [7, 2000, 16_384, 65_536] {
        let memory = Some(MemoryConfig { items, ..MemoryConfig::default() });
        let model = ModelConfig { base_width: 1, memory, ..fixture::config() };
        let tensors = fixture::tensors(&model);
        for side in [24, 512, 1024, 2048] {
            let shape = ClipShape::new(3, side).unwrap();
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
