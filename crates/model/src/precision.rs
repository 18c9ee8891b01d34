//! What a device can compute of the [`Precision`]s.

use protoguard_checkpoint::Precision;
use protoguard_kernels::KernelError;
use protoguard_kernels::convolution::takes_bf16;
use protoguard_kernels::processor;
use protoguard_kernels::winograd;
use tch::{Device, Kind};

use crate::device::DeviceSpec;

/// A precision that cannot be had on a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrecisionError {
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
    /// The processor has to be tried, and cannot be.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// What `Auto` means on a device; the others are as they are.
///
/// # Errors
/// When the processor has to be tried and cannot be: for want of memory, for instance.
pub fn auto_on(precision: Precision, device: Device) -> Result<Precision, PrecisionError> {
    match precision {
        Precision::Auto if gains_by_bf16(device)? => Ok(Precision::Bf16),
        Precision::Auto => Ok(Precision::F32),
        chosen => Ok(chosen),
    }
}

/// The same, where the device can compute it.
///
/// # Errors
/// For int8 on a GPU, and for bf16 on a processor that cannot; when the environment limits the
/// processor to something that is no set of instructions; and as [`auto_on`].
pub fn settled_on(precision: Precision, device: Device) -> Result<Precision, PrecisionError> {
    if device == Device::Cpu {
        processor::check().map_err(KernelError::from)?;
    }
    match (auto_on(precision, device)?, device) {
        (Precision::Bf16, Device::Cpu) if !takes_bf16()? => {
            let processor = processor::without_bf16().map_err(KernelError::from)?;
            Err(PrecisionError::NotOnProcessor { processor })
        }
        (Precision::Int8, device) if device != Device::Cpu => Err(PrecisionError::NotOnGpu),
        (settled, _) => Ok(settled),
    }
}

/// Those that a device can compute.
pub fn all_on(device: DeviceSpec) -> Vec<Precision> {
    let all = [Precision::F32, Precision::Bf16, Precision::Int8].into_iter();
    all.filter(|precision| settled_on(*precision, device.torch()).is_ok()).collect()
}

/// The kind of convolutions' tensors on a device, of those that int8 leaves out there.
pub(crate) fn kind_of(precision: Precision, device: Device) -> Result<Kind, PrecisionError> {
    Ok(match auto_on(precision, device)? {
        Precision::Bf16 => Kind::BFloat16,
        Precision::Int8 if gains_by_bf16(device)? => Kind::BFloat16,
        _ => Kind::Float,
    })
}

/// Whether the device is faster in bf16. Every GPU that libtorch 2.11 runs on is; a processor is
/// tried once.
fn gains_by_bf16(device: Device) -> Result<bool, KernelError> {
    Ok(device != Device::Cpu || winograd::gains_by_bf16()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_settled_by_the_device() {
        assert_ne!(auto_on(Precision::Auto, Device::Cpu).unwrap(), Precision::Auto);
        assert_eq!(auto_on(Precision::Auto, Device::Cuda(0)).unwrap(), Precision::Bf16);
        assert_eq!(auto_on(Precision::F32, Device::Cuda(0)).unwrap(), Precision::F32);
    }

    #[test]
    fn what_a_device_cannot_compute_is_refused_in_our_words() {
        assert_eq!(all_on(DeviceSpec::Cuda(0)), [Precision::F32, Precision::Bf16]);
        let error = settled_on(Precision::Int8, Device::Cuda(0)).unwrap_err().to_string();
        assert_eq!(error, "precision is int8 on a GPU; auto, f32 or bf16 is expected there");
        let settled = settled_on(Precision::Auto, Device::Cpu).unwrap();
        assert_ne!(settled, Precision::Auto);
        let takes_bf16 = takes_bf16().unwrap();
        let found = all_on(DeviceSpec::Cpu);
        assert_eq!(found.contains(&Precision::Bf16), takes_bf16);
        assert!(found.contains(&settled) && found.contains(&Precision::Int8));
        match settled_on(Precision::Bf16, Device::Cpu) {
            Ok(settled) => assert!(takes_bf16 && settled == Precision::Bf16),
            Err(error) => {
                let (error, has) = (error.to_string(), processor::without_bf16().unwrap());
                let expected = format!("for which libtorch needs AVX-512: {has}; auto, f32");
                assert!(!takes_bf16 && error.contains(&expected), "{error}");
            }
        }
    }
}
