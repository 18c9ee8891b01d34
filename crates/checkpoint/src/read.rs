//! Reading a file of arrays and JSON: its header and its lengths before anything is trusted.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::Metadata as Header;
use serde::Deserialize;

use crate::array::{Array, Dtype};
use crate::error::{CheckpointError, metadata_error};
use crate::format::{FORMAT_VERSION, MAX_HEADER, PREFIX, header_length};

#[derive(Deserialize)]
struct Envelope {
    content_hash: String,
    content: serde_json::Value,
}

/// A file whose header and lengths are sound; its hash is not yet checked.
pub(super) struct Unproven {
    pub(super) content_hash: String,
    pub(super) content: serde_json::Value,
    pub(super) arrays: BTreeMap<String, Array>,
}

/// Everything in a file of ours under `key`, which tells its kind.
pub(super) fn read_arrays_of(path: &Path, key: &str) -> Result<Unproven, CheckpointError> {
    let bytes = read_file(path)?;
    let not_a_checkpoint = |reason: String| not_a_checkpoint(path, reason);
    let (_, header) =
        SafeTensors::read_metadata(&bytes).map_err(|error| not_a_checkpoint(error.to_string()))?;
    let envelope = read_envelope(&header, key)
        .ok_or_else(|| not_a_checkpoint(format!("its header has no {key:?} metadata")))??;
    let tensors =
        SafeTensors::deserialize(&bytes).map_err(|error| not_a_checkpoint(error.to_string()))?;
    let Envelope { content_hash, content } = envelope;
    Ok(Unproven { content_hash, content, arrays: read_arrays(&tensors)? })
}

fn not_a_checkpoint(path: &Path, reason: String) -> CheckpointError {
    CheckpointError::NotACheckpoint { path: path.to_owned(), reason }
}

/// The file's bytes, after its length was checked against its header: a file of another kind, or
/// one cut short, is refused before it is read whole.
fn read_file(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    let io_error = |error: io::Error| CheckpointError::Io {
        path: path.to_owned(),
        action: "read",
        reason: error.to_string(),
    };
    let mut file = File::open(path).map_err(io_error)?;
    let found = file.metadata().map_err(io_error)?.len();
    let truncated =
        |expected| CheckpointError::Truncated { path: path.to_owned(), found, expected };
    if found < PREFIX {
        return Err(truncated(PREFIX));
    }
    let mut bytes = vec![0; PREFIX as usize];
    file.read_exact(&mut bytes).map_err(io_error)?;
    let header = header_length(&bytes);
    if header > MAX_HEADER {
        let reason = format!("its header has {header} bytes; at most {MAX_HEADER} are expected");
        return Err(not_a_checkpoint(path, reason));
    }
    if found < PREFIX + header {
        return Err(truncated(PREFIX + header));
    }
    (&mut file).take(header).read_to_end(&mut bytes).map_err(io_error)?;
    let parsed: Header = serde_json::from_slice(&bytes[PREFIX as usize..])
        .map_err(|error| not_a_checkpoint(path, format!("its header is not valid: {error}")))?;
    let expected = PREFIX + header + parsed.data_len() as u64;
    if found < expected {
        return Err(truncated(expected));
    }
    if found > expected {
        let reason = format!("it has {} bytes after its last tensor", found - expected);
        return Err(not_a_checkpoint(path, reason));
    }
    file.read_to_end(&mut bytes).map_err(io_error)?;
    Ok(bytes)
}

/// Nothing where the header has none of ours.
fn read_envelope(header: &Header, key: &str) -> Option<Result<Envelope, CheckpointError>> {
    let text = header.metadata().as_ref()?.get(key)?;
    let parse = || {
        let value: serde_json::Value = serde_json::from_str(text).map_err(metadata_error)?;
        let found = value.get("format_version").and_then(serde_json::Value::as_u64);
        let reason = "format_version is missing; a number is expected".to_owned();
        let found = found.ok_or(CheckpointError::Metadata { reason })?;
        if found > FORMAT_VERSION {
            return Err(CheckpointError::NewerFormat { found });
        }
        serde_json::from_value(value).map_err(metadata_error)
    };
    Some(parse())
}

fn read_arrays(tensors: &SafeTensors<'_>) -> Result<BTreeMap<String, Array>, CheckpointError> {
    let array = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        let dtype_error = || CheckpointError::Dtype {
            name: name.to_owned(),
            found: view.dtype().to_string(),
            expected: "U8, I64, F16, BF16, F32 or F64",
        };
        let dtype = Dtype::from_safetensors(view.dtype()).ok_or_else(dtype_error)?;
        let array = Array::new(dtype, view.shape().to_vec(), view.data().to_vec());
        Ok((name.to_owned(), array.ok_or_else(dtype_error)?))
    };
    tensors.iter().map(array).collect()
}
