//! A checkpoint that has passed its checks.

use std::collections::BTreeMap;
use std::path::Path;

use crate::content::CheckpointContent;
use crate::error::{CheckpointError, metadata_error};
use crate::format::METADATA_KEY;
use crate::metadata::Metadata;
use crate::read::{Unproven, read_arrays_of};
use crate::validate::validate;
use crate::{hash, write};

/// Checked content and its hash.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    content: CheckpointContent,
    hash: String,
}

impl Checkpoint {
    /// Digits of the hash that make a version.
    const VERSION_DIGITS: usize = 12;

    /// Checks content and hashes it.
    ///
    /// # Errors
    /// When the architecture is out of bounds, or a tensor is missing, unexpected, of the wrong
    /// shape or type, or not finite.
    pub fn new(content: CheckpointContent) -> Result<Self, CheckpointError> {
        validate(&content)?;
        let hash = hash::of(&content.metadata_json()?, &content.named_arrays());
        Ok(Self { content, hash })
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// Each way in which a file may be wrong has its own; see [`CheckpointError`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let Unproven { content_hash, content, arrays } =
            read_arrays_of(path.as_ref(), METADATA_KEY)?;
        let text = content.to_string();
        let metadata: Metadata = serde_json::from_value(content).map_err(metadata_error)?;
        let content = CheckpointContent::assemble(metadata, arrays)?;
        validate(&content)?;
        let found = hash::of(&text, &content.named_arrays());
        if found != content_hash {
            return Err(CheckpointError::Hash { found, expected: content_hash });
        }
        Ok(Self { content, hash: found })
    }

    /// Writes the file whole or not at all: to a temporary file in the same folder, synced and
    /// renamed, and the folder synced.
    ///
    /// # Errors
    /// When the file system refuses; what lay at `path` is then as before.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        let text = self.content.metadata_json()?;
        let metadata = write::envelope(METADATA_KEY, &self.hash, &text)?;
        write::write(path.as_ref(), metadata, &self.content.named_arrays())
    }

    /// What it is made of.
    pub fn content(&self) -> &CheckpointContent {
        &self.content
    }

    /// Gives the content up, for a change and a new checkpoint.
    pub fn into_content(self) -> CheckpointContent {
        self.content
    }

    /// SHA-256 of the content in hexadecimal digits.
    pub fn content_hash(&self) -> &str {
        &self.hash
    }

    /// The first digits of the hash: a name for these weights.
    pub fn version(&self) -> &str {
        &self.hash[..Self::VERSION_DIGITS]
    }

    /// Frees the optimiser's state, which serving does not need. The hash stays the file's.
    pub fn drop_optimizer(&mut self) {
        self.content.optimizer = BTreeMap::new();
    }
}
