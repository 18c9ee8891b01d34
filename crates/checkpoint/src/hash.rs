//! The hash of a file's content.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::array::Array;

/// SHA-256, in hexadecimal digits, of the metadata's text and of every array's name, type, shape
/// and bytes in the order of names. Every part is preceded by its length, so that no two contents
/// run together to the same text.
pub(super) fn of(metadata: &str, arrays: &BTreeMap<String, Cow<'_, Array>>) -> String {
    let mut hasher = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(metadata.as_bytes());
    for (name, array) in arrays {
        part(name.as_bytes());
        part(format!("{} {:?}", array.dtype(), array.shape()).as_bytes());
        part(array.bytes());
    }
    hasher.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
