//! Files of checkpoints, taken apart to be put together wrong. The model's tests use it too.
#![allow(dead_code, reason = "no test binary uses all of it")]

use std::fs;
use std::path::PathBuf;

use protoguard_checkpoint::{Checkpoint, CheckpointContent, CheckpointError};
use serde_json::Value;
use tempfile::TempDir;

/// Names and values that the reader looks for.
pub(crate) const WORDS: [&str; 14] = [
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
pub(crate) struct Parts {
    pub(crate) whole: Vec<u8>,
    pub(crate) header: Vec<u8>,
    pub(crate) data: Vec<u8>,
    /// The JSON within the header.
    pub(crate) metadata: String,
    pub(crate) folder: TempDir,
}

impl Parts {
    pub(crate) fn of(content: CheckpointContent) -> Self {
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
    pub(crate) fn with_header(&self, header: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header, &self.data].concat()
    }

    pub(crate) fn with_metadata(&self, metadata: &[u8]) -> Vec<u8> {
        self.with_header(&self.header_with(metadata))
    }

    pub(crate) fn header_with(&self, metadata: &[u8]) -> Vec<u8> {
        let mut json: Value = serde_json::from_slice(&self.header).unwrap();
        json["__metadata__"]["protoguard"] = String::from_utf8_lossy(metadata).into();
        json.to_string().into_bytes()
    }

    /// Reads what has other metadata and other numbers, and the hash of both, as somebody writes it
    /// who means to: the error says which hash it would have to be.
    pub(crate) fn read_rehashed(
        &self,
        metadata: &[u8],
        data: &[u8],
    ) -> Result<Checkpoint, CheckpointError> {
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

    pub(crate) fn read(&self, bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let path = self.path("broken.safetensors");
        fs::write(&path, bytes).unwrap();
        Checkpoint::read(&path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
