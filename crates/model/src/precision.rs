use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

/// The numbers that convolutions compute in. The memory, the scores and every sum are f32 or wider
/// in each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// [`Precision::Bf16`] where the device computes it natively, [`Precision::F32`] elsewhere.
    #[default]
    Auto,
    /// 24 bits of mantissa.
    F32,
    /// 8 bits of mantissa at twice the rate or better.
    Bf16,
}

/// A name that is no precision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("precision is {found:?}; auto, f32 or bf16 is expected")]
pub struct PrecisionError {
    /// What was asked for.
    pub found: String,
}

impl Precision {
    /// What `Auto` means on a device; the others are as they are.
    pub fn on(self, device: Device) -> Self {
        match self {
            Self::Auto if computes_bf16(device) => Self::Bf16,
            Self::Auto => Self::F32,
            chosen => chosen,
        }
    }

    /// The kind of convolutions' tensors on a device.
    pub(crate) fn kind(self, device: Device) -> Kind {
        match self.on(device) {
            Self::Bf16 => Kind::BFloat16,
            _ => Kind::Float,
        }
    }
}

/// Whether the device has instructions for products of bf16: every GPU that libtorch 2.11 runs on
/// does, and so do x86 processors with AVX512-BF16 or AMX.
fn computes_bf16(device: Device) -> bool {
    match device {
        Device::Cpu => cpu_computes_bf16(),
        _ => true,
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_computes_bf16() -> bool {
    std::arch::is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_computes_bf16() -> bool {
    false
}

impl FromStr for Precision {
    type Err = PrecisionError;

    fn from_str(text: &str) -> Result<Self, PrecisionError> {
        match text {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(PrecisionError { found: text.to_owned() }),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_and_printed() {
        for name in ["auto", "f32", "bf16"] {
            assert_eq!(name.parse::<Precision>().unwrap().to_string(), name);
        }
        let message = "f64".parse::<Precision>().unwrap_err().to_string();
        assert_eq!(message, "precision is \"f64\"; auto, f32 or bf16 is expected");
    }

    #[test]
    fn auto_is_settled_by_the_device() {
        assert_ne!(Precision::Auto.on(Device::Cpu), Precision::Auto);
        assert_eq!(Precision::Auto.on(Device::Cuda(0)), Precision::Bf16);
        assert_eq!(Precision::F32.on(Device::Cuda(0)), Precision::F32);
    }
}
