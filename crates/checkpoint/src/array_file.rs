//! Arrays and JSON that are no checkpoint.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use crate::array::Array;
use crate::error::CheckpointError;
use crate::{hash, read, write};

/// Arrays and JSON that are no checkpoint, in the same kind of file and as safely written: the
/// state of a run that is to go on, for instance.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrayFile {
    /// What the arrays mean.
    pub content: serde_json::Value,
    /// The arrays by name.
    pub arrays: BTreeMap<String, Array>,
}

impl ArrayFile {
    /// Reads a file of the kind that `key` names and checks its hash.
    ///
    /// # Errors
    /// When it cannot be read, is of another kind or is damaged.
    pub fn read(path: &Path, key: &str) -> Result<Self, CheckpointError> {
        let read::Unproven { content_hash, content, arrays } = read::read_arrays_of(path, key)?;
        let file = Self { content, arrays };
        let found = hash::of(&file.content.to_string(), &file.borrowed());
        if found != content_hash {
            return Err(CheckpointError::Hash { found, expected: content_hash });
        }
        Ok(file)
    }

    /// Writes the file whole or not at all, as [`super::Checkpoint::write`] does.
    ///
    /// # Errors
    /// When an array holds a NaN or an infinity, or the file system refuses; what lay at `path`
    /// is then as before.
    pub fn write(&self, path: &Path, key: &str) -> Result<(), CheckpointError> {
        for (name, array) in &self.arrays {
            if let Some(index) = array.first_not_finite() {
                return Err(CheckpointError::NotFinite { name: name.clone(), index });
            }
        }
        let (text, arrays) = (self.content.to_string(), self.borrowed());
        write::write(path, write::envelope(key, &hash::of(&text, &arrays), &text)?, &arrays)
    }

    fn borrowed(&self) -> BTreeMap<String, Cow<'_, Array>> {
        self.arrays.iter().map(|(name, array)| (name.clone(), Cow::Borrowed(array))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::Dtype;
    use crate::format::{MAX_HEADER, header_length};

    fn file() -> ArrayFile {
        let array = Array::from_f32(vec![2], &[1.0, 2.0]).unwrap();
        let content = serde_json::json!({ "loss": 0.1 + 0.2, "epoch": 3 });
        ArrayFile { content, arrays: BTreeMap::from([("weight".to_owned(), array)]) }
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        file().write(&path, "kind").unwrap();
        assert_eq!(ArrayFile::read(&path, "kind").unwrap(), file());
        let error = ArrayFile::read(&path, "other").unwrap_err().to_string();
        assert!(error.contains("no \"other\" metadata"), "{error}");
    }

    #[test]
    fn arrays_of_every_kind_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let kinds = [
            (Dtype::U8, "U8"),
            (Dtype::I64, "I64"),
            (Dtype::Bf16, "BF16"),
            (Dtype::F16, "F16"),
            (Dtype::F32, "F32"),
            (Dtype::F64, "F64"),
        ];
        let array = |(dtype, name): (Dtype, &str)| {
            let bytes = (1..=2 * dtype.bytes() as u8).collect();
            (name.to_owned(), Array::new(dtype, vec![2, 1], bytes).unwrap())
        };
        let written = ArrayFile { arrays: kinds.map(array).into(), ..file() };
        written.write(&path, "kind").unwrap();
        let read = ArrayFile::read(&path, "kind").unwrap();
        assert_eq!(read, written);
        for (name, array) in &read.arrays {
            assert_eq!(array.dtype().to_string(), *name);
        }
    }

    #[test]
    fn a_header_as_long_as_is_read_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let of_length = |length: usize| ArrayFile { content: "a".repeat(length).into(), ..file() };
        let header = || header_length(&std::fs::read(&path).unwrap());
        of_length(0).write(&path, "kind").unwrap();
        let longest = (MAX_HEADER - header()) as usize;
        of_length(longest).write(&path, "kind").unwrap();
        assert_eq!(header(), MAX_HEADER);
        assert_eq!(ArrayFile::read(&path, "kind").unwrap(), of_length(longest));
        // Headers are filled up to a multiple of 8 bytes.
        let error = of_length(longest + 8).write(&path, "kind").unwrap_err().to_string();
        assert!(error.contains("the header has 4194312 bytes; at most 4194304"), "{error}");
    }

    #[test]
    fn damage_and_nan_are_found_and_the_old_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        file().write(&path, "kind").unwrap();
        let mut broken = file();
        let nan = Array::from_f32(vec![1], &[f32::NAN]).unwrap();
        broken.arrays.insert("weight".to_owned(), nan);
        let error = broken.write(&path, "kind").unwrap_err();
        assert!(matches!(error, CheckpointError::NotFinite { .. }), "{error}");
        assert_eq!(ArrayFile::read(&path, "kind").unwrap(), file());

        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = ArrayFile::read(&path, "kind").unwrap_err();
        assert!(matches!(error, CheckpointError::Hash { .. }), "{error}");
    }
}
