//! What became of a call into C++ or libtorch, told by code.

use std::ffi::{CStr, c_char};
use std::mem::{offset_of, size_of};

use tch::Device;

use super::transfer::index;
use crate::Result;
use crate::error::{ModelError, first_line};

unsafe extern "C" {
    fn pg_free_message(message: *mut c_char);
    fn pg_refused_host_memory() -> u64;
    fn pg_refused_gpu_memory(gpu: i8, count: *mut u64) -> RawFault;
    fn pg_await_gpu(gpu: i8) -> RawFault;
}

/// As the C++ functions return it, `native/guard.h`.
#[repr(C)]
#[must_use = "what a call ended with"]
pub(super) struct RawFault {
    code: i32,
    message: *mut c_char,
}

const _: () = {
    assert!(size_of::<RawFault>() == 16);
    assert!(offset_of!(RawFault, code) == 0 && offset_of!(RawFault, message) == 8);
};

/// What can be done about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Arguments that do not go together, or that libtorch does not take.
    Refused,
    /// Memory of the host or of a GPU did not suffice.
    OutOfMemory,
    /// A GPU's driver failed, and what it held is gone.
    DeviceLost,
}

impl Fault {
    /// `protoguard::Code`; nothing for success.
    fn of_code(code: i32) -> Option<Self> {
        match code {
            0 => None,
            2 => Some(Self::OutOfMemory),
            3 => Some(Self::DeviceLost),
            _ => Some(Self::Refused),
        }
    }
}

/// The result of a call.
pub(super) fn checked(raw: RawFault) -> Result<()> {
    let reason = if raw.message.is_null() {
        String::new()
    } else {
        // SAFETY: a message is a C string of its own, freed once, here.
        unsafe {
            let reason = CStr::from_ptr(raw.message).to_string_lossy().into_owned();
            pg_free_message(raw.message);
            reason
        }
    };
    match Fault::of_code(raw.code) {
        None => Ok(()),
        Some(fault) => Err(ModelError::Native { fault, reason: first_line(&reason) }),
    }
}

/// How often memory was refused so far, to this thread or by a GPU. tch passes on libtorch's words alone: what was behind them
/// is told by what has changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefusedMemory {
    host: u64,
    gpu: u64,
}

impl RefusedMemory {
    /// On the host and on a device.
    pub(crate) fn so_far(device: Device) -> Self {
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
    pub(crate) fn fault_since(self, device: Device) -> Fault {
        if self != Self::so_far(device) {
            return Fault::OutOfMemory;
        }
        let answers = match (device, index(device)) {
            // SAFETY: no pointers.
            (Device::Cuda(_), Ok(index)) => checked(unsafe { pg_await_gpu(index) }),
            _ => Ok(()),
        };
        match answers {
            Err(ModelError::Native { fault, .. }) => fault,
            _ => Fault::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;
    use crate::native::quantized::quantize;
    use crate::native::{keep_host_memory, made};

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
        assert!(matches!(error, ModelError::Native { fault: Fault::OutOfMemory, .. }), "{error:?}");
        let error = quantize(None, &few.to_kind(Kind::Uint8), &few).unwrap_err();
        assert!(matches!(error, ModelError::Native { fault: Fault::Refused, .. }), "{error:?}");
        let refused = made(|_| RawFault { code: 1, message: std::ptr::null_mut() }).unwrap_err();
        assert_eq!(refused, ModelError::Native { fault: Fault::Refused, reason: String::new() });
    }
}
