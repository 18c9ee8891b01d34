//! The memory that tensors leave behind: kept on the CPU for the next ones, by
//! `native/host_memory.cpp`, and given back when nobody needs it.

use crate::call::{RawFault, checked};
use crate::error::Result;

unsafe extern "C" {
    fn pg_empty_cache() -> RawFault;
    fn pg_keep_host_memory() -> RawFault;
    fn pg_release_host_memory() -> RawFault;
}

/// From here on in this process, large tensors on the CPU take blocks that earlier ones have left,
/// in huge pages where the kernel has them. The first call counts; call it before the first tensor.
///
/// glibc maps every large block anew, and its pages cost more than many a layer that fills them.
/// At most a tenth more than was ever in use is held.
///
/// # Errors
/// When there is no memory for the allocator itself.
pub fn keep_host_memory() -> Result<()> {
    // SAFETY: no pointers.
    checked(unsafe { pg_keep_host_memory() })
}

/// Gives a GPU's cached memory back to its driver, where there is one, and freed memory of the host
/// to the system.
///
/// # Errors
/// When the device is lost.
pub fn empty_cache() -> Result<()> {
    // SAFETY: no pointers.
    checked(unsafe { pg_release_host_memory() })?;
    // SAFETY: no pointers.
    checked(unsafe { pg_empty_cache() })
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn large_tensors_take_the_place_of_earlier_ones() {
        keep_host_memory().unwrap();
        keep_host_memory().unwrap();
        let large = |mib: i64| Tensor::zeros([mib << 20], (Kind::Uint8, Device::Cpu));
        let first = large(64);
        let place = first.data_ptr();
        drop(first);
        let second = large(63);
        assert_eq!(second.data_ptr(), place, "a block that fits is used again");
        assert_eq!(second.sum(Kind::Int64).int64_value(&[]), 0);
        let other = large(63);
        assert_ne!(other.data_ptr(), place, "a block in use is not");
        drop((second, other));
        empty_cache().unwrap();
        assert_eq!(large(64).sum(Kind::Int64).int64_value(&[]), 0);
    }
}
