//! The numbers that convolutions compute in, as configurations and checkpoints name them. What of
//! them a device can compute is not known here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The numbers that convolutions compute in. The memory, the scores and every sum are f32 or wider
/// in each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// [`Precision::Bf16`] where the device is faster in it, [`Precision::F32`] elsewhere.
    #[default]
    Auto,
    /// 24 bits of mantissa.
    F32,
    /// 8 bits of mantissa, on GPUs and many processors at twice the rate or better. Processors
    /// without AVX-512 mostly cannot.
    Bf16,
    /// Most convolutions in 8-bit integers, on the CPU alone; the first, the last and those beside
    /// the memory in bf16 or f32, and without AVX512-VNNI the up-convolutions. Without any VNNI
    /// the weights have 7 bits.
    Int8,
}

/// A name that is none of a precision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("precision is {found:?}; {}", Precision::ACCEPTED)]
pub struct UnknownPrecision {
    /// What was asked for.
    pub found: String,
}

impl Precision {
    /// What an error says of another name.
    pub const ACCEPTED: &'static str = "auto, f32, bf16 or int8 is expected";
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(text: &str) -> Result<Self, UnknownPrecision> {
        match text {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "int8" => Ok(Self::Int8),
            _ => Err(UnknownPrecision { found: text.to_owned() }),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_and_printed() {
        for name in ["auto", "f32", "bf16", "int8"] {
            assert_eq!(name.parse::<Precision>().unwrap().to_string(), name);
        }
        let message = "f64".parse::<Precision>().unwrap_err().to_string();
        assert_eq!(message, "precision is \"f64\"; auto, f32, bf16 or int8 is expected");
    }
}
