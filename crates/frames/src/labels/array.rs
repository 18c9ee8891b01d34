//! Npy files of labels, of any plain type.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use npyz::{DType, Deserialize, NpyFile, TypeChar};

use super::error::LabelArrayError;

/// The labels of one npy file, `[n]` or `[1, n]`: 1 or true is abnormal. `expected` is for the
/// complaint about another shape; their number is not checked.
///
/// # Errors
/// When the file is no such array, or holds a value other than 0 and 1.
pub fn read_label_array(path: &Path, expected: usize) -> Result<Vec<bool>, LabelArrayError> {
    Array::read(path)?.labels(path, expected)
}

/// The values of an npy file. Labels are few: every type is widened to the one that holds them
/// all.
struct Array {
    shape: Vec<u64>,
    values: Vec<f64>,
}

impl Array {
    fn read(path: &Path) -> Result<Self, LabelArrayError> {
        let broken = |error: io::Error| LabelArrayError::NotAnArray {
            path: path.into(),
            reason: error.to_string(),
        };
        let file =
            File::open(path).map_err(|source| LabelArrayError::Io { path: path.into(), source })?;
        let size = file.metadata().map_or(u64::MAX, |metadata| metadata.len());
        let npy = NpyFile::new(BufReader::new(file)).map_err(broken)?;
        let shape = npy.shape().to_vec();
        let elements = shape.iter().try_fold(1u64, |all, &n| all.checked_mul(n));
        if elements.is_none_or(|elements| elements > size) {
            return Err(broken(io::Error::other(format!("shape {shape:?} exceeds the file"))));
        }
        let dtype = npy.dtype();
        let DType::Plain(ty) = &dtype else {
            return Err(LabelArrayError::Type { path: path.into(), found: dtype.descr() });
        };
        let values = match (ty.type_char(), ty.size_field()) {
            (TypeChar::Bool, 1) => widen::<bool>(npy, f64::from),
            (TypeChar::Uint, 1) => widen::<u8>(npy, f64::from),
            (TypeChar::Int, 1) => widen::<i8>(npy, f64::from),
            (TypeChar::Int, 2) => widen::<i16>(npy, f64::from),
            (TypeChar::Int, 4) => widen::<i32>(npy, f64::from),
            (TypeChar::Int, 8) => widen::<i64>(npy, |value| value as f64),
            (TypeChar::Float, 4) => widen::<f32>(npy, f64::from),
            (TypeChar::Float, 8) => widen::<f64>(npy, |value| value),
            _ => return Err(LabelArrayError::Type { path: path.into(), found: dtype.descr() }),
        };
        Ok(Self { shape, values: values.map_err(broken)? })
    }

    /// One label a value, of an array in one dimension; `expected` is for the message.
    fn labels(self, path: &Path, expected: usize) -> Result<Vec<bool>, LabelArrayError> {
        if !matches!(self.shape.as_slice(), [_] | [1, _]) {
            return Err(LabelArrayError::Shape { path: path.into(), found: self.shape, expected });
        }
        if let Some(index) = self.values.iter().position(|&v| v != 0.0 && v != 1.0) {
            let found = self.values[index];
            return Err(LabelArrayError::Value { path: path.into(), found, index });
        }
        Ok(self.values.into_iter().map(|value| value == 1.0).collect())
    }
}

fn widen<T: Deserialize>(
    npy: NpyFile<BufReader<File>>,
    to_f64: impl Fn(T) -> f64,
) -> io::Result<Vec<f64>> {
    Ok(npy.into_vec::<T>()?.into_iter().map(to_f64).collect())
}
