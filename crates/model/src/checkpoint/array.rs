use std::fmt;

/// The element types that a checkpoint may hold, by their safetensors names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// 8-bit pixels.
    U8,
    /// Counters.
    I64,
    /// Halves with 8 bits of exponent.
    Bf16,
    /// IEEE halves.
    F16,
    /// What weights are stored as.
    F32,
    /// Doubles.
    F64,
}

/// A tensor as plain little-endian bytes, so that it may be shared between threads.
#[derive(Clone, PartialEq, Eq)]
pub struct Array {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Array {
    /// An array of `shape` in row-major order.
    ///
    /// Nothing when the number of bytes is not that of the shape.
    pub fn new(dtype: Dtype, shape: Vec<usize>, bytes: Vec<u8>) -> Option<Self> {
        let elements = shape.iter().try_fold(1usize, |count, &side| count.checked_mul(side))?;
        (elements.checked_mul(dtype.bytes())? == bytes.len()).then_some(Self {
            dtype,
            shape,
            bytes,
        })
    }

    /// An array of f32. Nothing when the number of values is not that of the shape.
    pub fn from_f32(shape: Vec<usize>, values: &[f32]) -> Option<Self> {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::new(Dtype::F32, shape, bytes)
    }

    /// An array of i64. Nothing when the number of values is not that of the shape.
    pub fn from_i64(shape: Vec<usize>, values: &[i64]) -> Option<Self> {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::new(Dtype::I64, shape, bytes)
    }

    /// The element type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Length of every dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, little-endian, row-major.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The values of an array of f32; nothing for another type.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        let value = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
        (self.dtype == Dtype::F32).then(|| self.bytes.as_chunks().0.iter().map(value).collect())
    }

    /// The values of an array of i64; nothing for another type.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        let value = |bytes: &[u8; 8]| i64::from_le_bytes(*bytes);
        (self.dtype == Dtype::I64).then(|| self.bytes.as_chunks().0.iter().map(value).collect())
    }

    /// Position of the first NaN or infinity: an element whose exponent is all ones.
    pub fn first_not_finite(&self) -> Option<usize> {
        let half = |mask: u16| {
            let chunks = self.bytes.as_chunks().0.iter();
            chunks.map(|bytes| u16::from_le_bytes(*bytes)).position(|bits| bits & mask == mask)
        };
        match self.dtype {
            Dtype::U8 | Dtype::I64 => None,
            Dtype::F16 => half(0x7c00),
            Dtype::Bf16 => half(0x7f80),
            Dtype::F32 => {
                let mut chunks = self.bytes.as_chunks().0.iter();
                chunks.position(|bytes| !f32::from_le_bytes(*bytes).is_finite())
            }
            Dtype::F64 => {
                let mut chunks = self.bytes.as_chunks().0.iter();
                chunks.position(|bytes| !f64::from_le_bytes(*bytes).is_finite())
            }
        }
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Array({} {:?})", self.dtype, self.shape)
    }
}

impl Dtype {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }

    pub(super) fn from_safetensors(dtype: safetensors::Dtype) -> Option<Self> {
        match dtype {
            safetensors::Dtype::U8 => Some(Self::U8),
            safetensors::Dtype::I64 => Some(Self::I64),
            safetensors::Dtype::BF16 => Some(Self::Bf16),
            safetensors::Dtype::F16 => Some(Self::F16),
            safetensors::Dtype::F32 => Some(Self::F32),
            safetensors::Dtype::F64 => Some(Self::F64),
            _ => None,
        }
    }

    pub(super) fn to_safetensors(self) -> safetensors::Dtype {
        match self {
            Self::U8 => safetensors::Dtype::U8,
            Self::I64 => safetensors::Dtype::I64,
            Self::Bf16 => safetensors::Dtype::BF16,
            Self::F16 => safetensors::Dtype::F16,
            Self::F32 => safetensors::Dtype::F32,
            Self::F64 => safetensors::Dtype::F64,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U8 => "U8",
            Self::I64 => "I64",
            Self::Bf16 => "BF16",
            Self::F16 => "F16",
            Self::F32 => "F32",
            Self::F64 => "F64",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive() {
        let values = [1.5f32, -0.0, f32::MIN_POSITIVE, 3e38];
        let array = Array::from_f32(vec![2, 2], &values).unwrap();
        assert_eq!(array.to_f32().unwrap(), values);
        assert_eq!(array.first_not_finite(), None);
        assert!(array.to_i64().is_none());
        assert!(Array::from_f32(vec![3], &values).is_none());
        assert!(Array::new(Dtype::F32, vec![usize::MAX, 2], vec![]).is_none());
    }

    #[test]
    fn nan_and_infinity_are_found_in_every_kind() {
        let array = Array::from_f32(vec![3], &[0.0, 1.0, f32::NAN]).unwrap();
        assert_eq!(array.first_not_finite(), Some(2));
        let array = Array::from_f32(vec![2], &[f32::NEG_INFINITY, 1.0]).unwrap();
        assert_eq!(array.first_not_finite(), Some(0));
        for (dtype, infinity) in [(Dtype::F16, 0x7c00u16), (Dtype::Bf16, 0x7f80)] {
            let bytes = [0u16, infinity].iter().flat_map(|bits| bits.to_le_bytes()).collect();
            assert_eq!(Array::new(dtype, vec![2], bytes).unwrap().first_not_finite(), Some(1));
        }
        let bytes = f64::NAN.to_le_bytes().to_vec();
        assert_eq!(Array::new(Dtype::F64, vec![1], bytes).unwrap().first_not_finite(), Some(0));
    }
}
