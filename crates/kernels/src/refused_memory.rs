//! Whether memory was what an operation of tch failed for want of: tch passes on libtorch's words
//! alone, and what was behind them is told by what has been refused since.

use tch::Device;

use crate::call::{RawFault, checked, index};
use crate::error::{Fault, KernelError};

unsafe extern "C" {
    fn pg_refused_host_memory() -> u64;
    fn pg_refused_gpu_memory(gpu: i8, count: *mut u64) -> RawFault;
    fn pg_await_gpu(gpu: i8) -> RawFault;
}

/// How often memory was refused so far, to this thread or by a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedMemory {
    host: u64,
    gpu: u64,
}

impl RefusedMemory {
    /// On the host and on a device.
    pub fn so_far(device: Device) -> Self {
        // SAFETY: no pointers.
        let host = unsafe { pg_refused_host_memory() };
        let mut gpu = 0;
        if let (Device::Cuda(_), Ok(index)) = (device, index(device)) {
            // SAFETY: the number outlives the call. Before the first tensor there is nothing to
            // count, and it stays.
            let _ = checked(unsafe { pg_refused_gpu_memory(index, &mut gpu) });
        }
        Self { host, gpu }
    }

    /// What is behind an error that came after this was taken on the same device.
    pub fn fault_since(self, device: Device) -> Fault {
        if self != Self::so_far(device) {
            return Fault::OutOfMemory;
        }
        let answers = match (device, index(device)) {
            // SAFETY: no pointers.
            (Device::Cuda(_), Ok(index)) => checked(unsafe { pg_await_gpu(index) }),
            _ => Ok(()),
        };
        match answers {
            Err(KernelError::Native { fault, .. }) => fault,
            _ => Fault::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;
    use crate::host_memory::keep_host_memory;
    use crate::quantized::quantize;

    /// More than any address space has.
    const TOO_MUCH: i64 = 1 << 60;

    #[test]
    fn memory_that_is_refused_is_told_from_what_is_refused() {
        keep_host_memory().unwrap();
        let before = RefusedMemory::so_far(Device::Cpu);
        let error = Tensor::f_empty([3], (Kind::Float, Device::Cpu)).unwrap().f_reshape([2, 2]);
        assert!(error.is_err());
        assert_eq!(before.fault_since(Device::Cpu), Fault::Refused);
        assert!(Tensor::f_empty([TOO_MUCH], (Kind::Uint8, Device::Cpu)).is_err());
        assert_eq!(before.fault_since(Device::Cpu), Fault::OutOfMemory);
    }

    #[test]
    fn faults_of_our_own_functions_have_a_code() {
        keep_host_memory().unwrap();
        let few = Tensor::zeros([1, 1, 1, 1], (Kind::Float, Device::Cpu));
        let huge = few.expand([1, 1 << 30, 1 << 30, 1], false);
        let error = quantize(None, &huge, &few).unwrap_err();
        assert!(
            matches!(error, KernelError::Native { fault: Fault::OutOfMemory, .. }),
            "{error:?}"
        );
        let error = quantize(None, &few.to_kind(Kind::Uint8), &few).unwrap_err();
        assert!(matches!(error, KernelError::Native { fault: Fault::Refused, .. }), "{error:?}");
    }
}
