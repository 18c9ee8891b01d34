//! Writing a file of arrays and JSON, whole or not at all.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use safetensors::tensor::View;

use crate::array::Array;
use crate::error::{CheckpointError, metadata_error};
use crate::format::{
    FORMAT_VERSION, MAX_HEADER, TEMPORARY_SUFFIX, header_length, temporary_prefix,
};

struct ArrayView<'a>(&'a Array);

impl View for ArrayView<'_> {
    fn dtype(&self) -> safetensors::Dtype {
        self.0.dtype().to_safetensors()
    }
    fn shape(&self) -> &[usize] {
        self.0.shape()
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.0.bytes())
    }
    fn data_len(&self) -> usize {
        self.0.bytes().len()
    }
}

/// Writes arrays and one entry of JSON, whole or not at all.
pub(super) fn write(
    path: &Path,
    metadata: HashMap<String, String>,
    arrays: &BTreeMap<String, Cow<'_, Array>>,
) -> Result<(), CheckpointError> {
    let views = arrays.iter().map(|(name, array)| (name.as_str(), ArrayView(array)));
    let bytes = safetensors::serialize(views, Some(metadata))
        .map_err(|error| CheckpointError::Metadata { reason: error.to_string() })?;
    // What is written can be read again.
    let header = header_length(&bytes);
    if header > MAX_HEADER {
        let reason = format!("the header has {header} bytes; at most {MAX_HEADER} are expected");
        return Err(CheckpointError::Metadata { reason });
    }
    persist(&bytes, path).map_err(|error| CheckpointError::Io {
        path: path.to_owned(),
        action: "written",
        reason: error.to_string(),
    })
}

/// The entry of a file's header: its format, its hash and its content.
pub(super) fn envelope(
    key: &str,
    hash: &str,
    content: &str,
) -> Result<HashMap<String, String>, CheckpointError> {
    let content: serde_json::Value = serde_json::from_str(content).map_err(metadata_error)?;
    let envelope = serde_json::json!({
        "format_version": FORMAT_VERSION,
        "content_hash": hash,
        "content": content,
    });
    Ok(HashMap::from([(key.to_owned(), envelope.to_string())]))
}

/// A dropped temporary file removes itself, so that a failure leaves nothing behind.
fn persist(bytes: &[u8], path: &Path) -> io::Result<()> {
    let folder = folder_of(path);
    // The mode is further limited by the umask, as that of any other new file.
    let mut file = tempfile::Builder::new()
        .prefix(&temporary_prefix(path))
        .suffix(TEMPORARY_SUFFIX)
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

/// The folder that a file lies in, which its bare name does not say.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_lies_where_the_program_runs() {
        assert_eq!(folder_of(Path::new("models/hall.safetensors")), Path::new("models"));
        assert_eq!(folder_of(Path::new("hall.safetensors")), Path::new("."));
    }
}
