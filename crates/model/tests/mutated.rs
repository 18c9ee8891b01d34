//! Checkpoints that somebody broke: an error each, never a panic.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up should fail loudly")]

mod fixture;

use std::fs;
use std::path::PathBuf;

use protoguard_fuzz::{Budget, Mutator, trial};
use protoguard_model::{Checkpoint, CheckpointError};
use serde_json::Value;
use tempfile::TempDir;

/// Names and values that the reader looks for.
const WORDS: [&str; 13] = [
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
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("whole.safetensors");
        Checkpoint::new(fixture::content()).unwrap().write(&path).unwrap();
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
        let mut json: Value = serde_json::from_slice(&self.header).unwrap();
        json["__metadata__"]["protoguard"] = String::from_utf8_lossy(metadata).into();
        self.with_header(json.to_string().as_bytes())
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
    let parts = Parts::new();
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
