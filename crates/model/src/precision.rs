use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

use crate::device::DeviceSpec;
use crate::{Result, native, processor, winograd};

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

/// A precision that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrecisionError {
    /// A name that is none.
    #[error("precision is {found:?}; {}", Precision::ACCEPTED)]
    Unknown {
        /// What was asked for.
        found: String,
    },
    /// Int8 is computed by oneDNN alone.
    #[error("precision is int8 on a GPU; auto, f32 or bf16 is expected there")]
    NotOnGpu,
    /// bf16 where libtorch's convolutions do not take it.
    #[error(
        "precision is bf16, for which libtorch needs AVX-512: {processor}; auto, f32 or int8 is \
         expected here"
    )]
    NotOnProcessor {
        /// What it has, and what libtorch may use of that.
        processor: String,
    },
}

impl Precision {
    /// What an error says of another name.
    pub const ACCEPTED: &'static str = "auto, f32, bf16 or int8 is expected";

    /// What `Auto` means on a device; the others are as they are.
    ///
    /// # Errors
    /// When the processor has to be tried and cannot be: for want of memory, for instance.
    pub fn on(self, device: Device) -> Result<Self> {
        match self {
            Self::Auto if gains_by_bf16(device)? => Ok(Self::Bf16),
            Self::Auto => Ok(Self::F32),
            chosen => Ok(chosen),
        }
    }

    /// The same, where the device can compute it.
    ///
    /// # Errors
    /// For int8 on a GPU, and for bf16 on a processor that cannot; when the environment limits the
    /// processor to something that is no set of instructions; and as [`Precision::on`].
    pub fn settled_on(self, device: Device) -> Result<Self> {
        if device == Device::Cpu {
            processor::check()?;
        }
        match (self.on(device)?, device) {
            (Self::Bf16, Device::Cpu) if !native::takes_bf16()? => {
                let processor = processor::without_bf16()?;
                Err(PrecisionError::NotOnProcessor { processor }.into())
            }
            (Self::Int8, device) if device != Device::Cpu => Err(PrecisionError::NotOnGpu.into()),
            (settled, _) => Ok(settled),
        }
    }

    /// Those that a device can compute.
    pub fn all_on(device: DeviceSpec) -> Vec<Self> {
        let all = [Self::F32, Self::Bf16, Self::Int8].into_iter();
        all.filter(|precision| precision.settled_on(device.torch()).is_ok()).collect()
    }

    /// The kind of convolutions' tensors on a device, of those that int8 leaves out there.
    pub(crate) fn kind(self, device: Device) -> Result<Kind> {
        Ok(match self.on(device)? {
            Self::Bf16 => Kind::BFloat16,
            Self::Int8 if gains_by_bf16(device)? => Kind::BFloat16,
            _ => Kind::Float,
        })
    }
}

/// Whether the device is faster in bf16. Every GPU that libtorch 2.11 runs on is; a processor is
/// tried once.
fn gains_by_bf16(device: Device) -> Result<bool> {
    Ok(device != Device::Cpu || winograd::gains_by_bf16()?)
}

impl FromStr for Precision {
    type Err = PrecisionError;

    fn from_str(text: &str) -> Result<Self, PrecisionError> {
        match text {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "int8" => Ok(Self::Int8),
            _ => Err(PrecisionError::Unknown { found: text.to_owned() }),
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

    #[test]
    fn auto_is_settled_by_the_device() {
        assert_ne!(Precision::Auto.on(Device::Cpu).unwrap(), Precision::Auto);
        assert_eq!(Precision::Auto.on(Device::Cuda(0)).unwrap(), Precision::Bf16);
        assert_eq!(Precision::F32.on(Device::Cuda(0)).unwrap(), Precision::F32);
    }

    #[test]
    fn what_a_device_cannot_compute_is_refused_in_our_words() {
        assert_eq!(Precision::all_on(DeviceSpec::Cuda(0)), [Precision::F32, Precision::Bf16]);
        let error = Precision::Int8.settled_on(Device::Cuda(0)).unwrap_err().to_string();
        assert_eq!(error, "precision is int8 on a GPU; auto, f32 or bf16 is expected there");
        let settled = Precision::Auto.settled_on(Device::Cpu).unwrap();
        assert_ne!(settled, Precision::Auto);
        let takes_bf16 = native::takes_bf16().unwrap();
        let found = Precision::all_on(DeviceSpec::Cpu);
        assert_eq!(found.contains(&Precision::Bf16), takes_bf16);
        assert!(found.contains(&settled) && found.contains(&Precision::Int8));
        match Precision::Bf16.settled_on(Device::Cpu) {
            Ok(settled) => assert!(takes_bf16 && settled == Precision::Bf16),
            Err(error) => {
                let (error, has) = (error.to_string(), processor::without_bf16().unwrap());
                let expected = format!("for which libtorch needs AVX-512: {has}; auto, f32");
                assert!(!takes_bf16 && error.contains(&expected), "{error}");
            }
        }
    }
}
