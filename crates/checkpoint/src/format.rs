//! The names and bounds of the format, and of a file that is being written.

use std::path::Path;

/// The format that this program writes, and the newest it reads.
pub const FORMAT_VERSION: u64 = 3;

/// Key of a checkpoint's JSON in the header's `__metadata__`.
pub(super) const METADATA_KEY: &str = "protoguard";
/// Name of the golden clip's array.
pub(super) const GOLDEN_CLIP: &str = "golden.clip";
/// Begins the names of the optimiser's arrays.
pub(super) const OPTIMIZER_PREFIX: &str = "optimizer.";
/// Begins the names of the activation ranges' arrays.
pub(super) const RANGES_PREFIX: &str = "activation_ranges.";

/// Bytes before the header: its length.
pub(super) const PREFIX: u64 = 8;
/// Longest header that is looked at, in bytes; a checkpoint's has a few ten thousand.
pub(super) const MAX_HEADER: u64 = 4 << 20;

/// What the first bytes of a file say of the length of its header.
pub(super) fn header_length(bytes: &[u8]) -> u64 {
    let prefix = bytes.iter().take(PREFIX as usize).rev();
    prefix.fold(0, |length, &byte| length << 8 | u64::from(byte))
}

/// Ends the name of a file that is still being written.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// Begins the name under which the file at `path` is written before it is renamed. A program that
/// was killed in between leaves such a file behind.
pub fn temporary_prefix(path: &Path) -> String {
    format!(".{}-", path.file_name().unwrap_or_default().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_yet_renamed_is_hidden_and_bears_the_name() {
        let prefix = temporary_prefix(Path::new("models/hall.safetensors"));
        assert_eq!(prefix, ".hall.safetensors-");
    }
}
