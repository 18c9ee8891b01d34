//! The form of a call into the C++: what it returns, and what it takes.

use std::ffi::{CStr, c_char};
use std::mem::{offset_of, size_of};
use std::ptr;

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use crate::error::{Fault, KernelError, Result, first_line};

unsafe extern "C" {
    fn pg_free_message(message: *mut c_char);
}

/// As the C++ functions return it, `native/guard.h`.
#[repr(C)]
#[must_use = "what a call ended with"]
pub(crate) struct RawFault {
    code: i32,
    message: *mut c_char,
}

const _: () = {
    assert!(size_of::<RawFault>() == 16);
    assert!(offset_of!(RawFault, code) == 0 && offset_of!(RawFault, message) == 8);
};

/// `protoguard::Code`; nothing for success.
fn fault_of_code(code: i32) -> Option<Fault> {
    match code {
        0 => None,
        2 => Some(Fault::OutOfMemory),
        3 => Some(Fault::DeviceLost),
        _ => Some(Fault::Refused),
    }
}

/// The result of a call.
pub(crate) fn checked(raw: RawFault) -> Result<()> {
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
    match fault_of_code(raw.code) {
        None => Ok(()),
        Some(fault) => Err(KernelError::Native { fault, reason: first_line(&reason) }),
    }
}

/// The tensor that a call makes.
pub(crate) fn made(call: impl FnOnce(*mut *mut C_tensor) -> RawFault) -> Result<Tensor> {
    let mut output = ptr::null_mut();
    checked(call(&mut output))?;
    // SAFETY: without a fault the call has put a new tensor there, which nobody else owns.
    Ok(unsafe { Tensor::from_ptr(output) })
}

/// Null for a tensor that is absent.
pub(crate) fn pointer(tensor: Option<&Tensor>) -> *const C_tensor {
    tensor.map_or(ptr::null(), Tensor::as_ptr)
}

/// A device as the C++ functions take it: below zero for the CPU.
pub(crate) fn index(device: Device) -> Result<i8> {
    match device {
        Device::Cpu => Ok(-1),
        Device::Cuda(index) => i8::try_from(index).map_err(|_| no_such(device)),
        other => Err(no_such(other)),
    }
}

fn no_such(device: Device) -> KernelError {
    let reason = format!("device {device:?} cannot be copied to");
    KernelError::Native { fault: Fault::Refused, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_without_a_message_is_a_fault() {
        let refused = made(|_| RawFault { code: 1, message: ptr::null_mut() }).unwrap_err();
        assert_eq!(refused, KernelError::Native { fault: Fault::Refused, reason: String::new() });
    }
}
