//! Tensors as plain bytes.

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

    /// Position and value of the first element of floating point that does not hold to `accepts`.
    pub(super) fn first_refused(&self, accepts: impl Fn(f64) -> bool) -> Option<(usize, f64)> {
        let first = |values: &mut dyn Iterator<Item = f64>| {
            values.enumerate().find(|(_, value)| !accepts(*value))
        };
        let halves = || self.bytes.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes));
        match self.dtype {
            Dtype::U8 | Dtype::I64 => None,
            Dtype::F16 => first(&mut halves().map(from_half)),
            Dtype::Bf16 => {
                first(&mut halves().map(|bits| f32::from_bits(u32::from(bits) << 16).into()))
            }
            Dtype::F32 => {
                let chunks = self.bytes.as_chunks().0.iter();
                first(&mut chunks.map(|bytes| f32::from_le_bytes(*bytes).into()))
            }
            Dtype::F64 => {
                let chunks = self.bytes.as_chunks().0.iter();
                first(&mut chunks.map(|bytes| f64::from_le_bytes(*bytes)))
            }
        }
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

/// The value of an IEEE half: 1 bit of sign, 5 of exponent, 10 of mantissa.
fn from_half(bits: u16) -> f64 {
    let (exponent, mantissa) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => mantissa * 2f64.powi(-24),
        0x1f if mantissa == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (1024.0 + mantissa) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 0 { magnitude } else { -magnitude }
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
        assert_eq!(format!("{array:?}"), "Array(F32 [2, 2])", "without its bytes");
        assert!(Array::from_f32(vec![3], &values).is_none());
        let counters = Array::from_i64(vec![2], &[3, -4]).unwrap();
        assert_eq!(counters.to_i64().unwrap(), [3, -4]);
        assert!(counters.to_f32().is_none());
        assert!(Array::new(Dtype::F32, vec![usize::MAX, 2], vec![]).is_none());
    }

    #[test]
    fn halves_have_the_values_of_their_bits() {
        // The largest, the smallest normal one, the smallest of all, 1 + 1/1024 and two thirds.
        for (bits, value) in [
            (0x7bff, 65504.0),
            (0x0400, 2f64.powi(-14)),
            (0x8001, -(2f64.powi(-24))),
            (0x3c01, 1.0 + 1.0 / 1024.0),
            (0xb955, -0.66650390625),
            (0xfc00, f64::NEG_INFINITY),
        ] {
            assert_eq!(from_half(bits), value, "{bits:#06x}");
        }
        assert!(from_half(0x7e00).is_nan() && from_half(0x8000) == 0.0);
    }

    #[test]
    fn the_first_element_out_of_range_is_found_in_every_kind() {
        let not_negative = |value: f64| value >= 0.0;
        let found = |dtype, bytes: Vec<u8>| {
            let count = bytes.len() / Dtype::bytes(dtype);
            Array::new(dtype, vec![count], bytes).unwrap().first_refused(not_negative)
        };
        let of_halves =
            |bits: [u16; 3]| bits.iter().flat_map(|bits| bits.to_le_bytes()).collect::<Vec<u8>>();
        // -0.0 is no less than 0.
        assert_eq!(found(Dtype::F16, of_halves([0x8000, 0x3c00, 0xc000])), Some((2, -2.0)));
        assert_eq!(found(Dtype::Bf16, of_halves([0x8000, 0xbf80, 0xc000])), Some((1, -1.0)));
        assert_eq!(found(Dtype::F16, of_halves([0x8000, 0x3c00, 0])), None);
        let wide = [0.5f32, -0.25].iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(found(Dtype::F32, wide), Some((1, -0.25)));
        let wider = [-3.0f64].iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(found(Dtype::F64, wider), Some((0, -3.0)));
        assert_eq!(found(Dtype::U8, vec![255]), None);
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
