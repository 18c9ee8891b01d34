//! Between the host's memory and a device's.

use std::mem::MaybeUninit;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use crate::call::{RawFault, checked, index, made};
use crate::error::Result;

unsafe extern "C" {
    fn pg_own_stream(gpu: i8) -> RawFault;
    fn pg_upload(
        pieces: *const *const u8,
        size: *const i64,
        dimensions: usize,
        gpu: i8,
        uploaded: *mut *mut C_tensor,
    ) -> RawFault;
    fn pg_download(tensor: *const C_tensor, pieces: *const *mut f32, count: usize) -> RawFault;
}

/// From here on this thread's work on a GPU waits for nobody else's: libtorch would put the work of
/// all threads into one stream. The CPU has none, and another call changes nothing.
///
/// # Errors
/// When there is no such device.
pub fn own_stream(device: Device) -> Result<()> {
    match device {
        Device::Cpu => Ok(()),
        // SAFETY: no pointers.
        _ => checked(unsafe { pg_own_stream(index(device)?) }),
    }
}

/// Bytes on a device, `[B, n, …]`, from `B · n` pieces in order. To a GPU they go through memory
/// that its driver has pinned, while the thread goes on.
///
/// # Errors
/// When there is no such device, or no room on it.
///
/// # Panics
/// When a piece is missing or has another length than the sizes say.
pub fn upload(pieces: &[&[u8]], size: &[i64], device: Device) -> Result<Tensor> {
    let bytes: i64 = size.iter().skip(2).product();
    assert_eq!(size[0] * size[1], pieces.len() as i64, "a piece an entry is needed");
    assert!(pieces.iter().all(|piece| piece.len() as i64 == bytes), "pieces of {bytes} bytes");
    let gpu = index(device)?;
    let pieces: Vec<*const u8> = pieces.iter().map(|piece| piece.as_ptr()).collect();
    // SAFETY: there are as many pieces as the first two sizes say, each of as many bytes as the
    // others do, and all outlive the call, which copies them.
    made(|out| unsafe { pg_upload(pieces.as_ptr(), size.as_ptr(), size.len(), gpu, out) })
}

/// The numbers of a tensor in f32, first dimension slowest, whatever device it is on, in `count`
/// pieces of the same length.
///
/// # Errors
/// When the device failed in the meantime.
///
/// # Panics
/// When the numbers do not make so many equal pieces.
pub fn download(tensor: &Tensor, count: usize) -> Result<Vec<Arc<[f32]>>> {
    let tensor = tensor.f_to_kind(Kind::Float)?;
    let length = tensor.numel().checked_div(count).unwrap_or(0);
    assert_eq!(length * count, tensor.numel(), "{count} equal pieces");
    let mut pieces: Vec<Arc<[MaybeUninit<f32>]>> =
        (0..count).map(|_| Arc::new_uninit_slice(length)).collect();
    let room = |piece: &mut Arc<[MaybeUninit<f32>]>| {
        Arc::get_mut(piece).map(|piece| piece.as_mut_ptr().cast::<f32>())
    };
    let pointers: Vec<*mut f32> = pieces.iter_mut().filter_map(room).collect();
    // SAFETY: there are as many pieces as it is told, each with room for its share of the numbers,
    // and nobody else has them yet.
    checked(unsafe { pg_download(tensor.as_ptr(), pointers.as_ptr(), pointers.len()) })?;
    // SAFETY: the call has written every number of every piece.
    Ok(pieces.into_iter().map(|piece| unsafe { piece.assume_init() }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_lie_one_after_the_other() {
        let frames: Vec<Vec<u8>> = (0..6u8).map(|frame| vec![frame; 12]).collect();
        let pieces: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let found = upload(&pieces, &[2, 3, 2, 2, 3], Device::Cpu).unwrap();
        assert_eq!((found.size(), found.kind()), (vec![2, 3, 2, 2, 3], Kind::Uint8));
        assert_eq!(found.int64_value(&[1, 2, 1, 1, 2]), 5);
        assert_eq!(Vec::<u8>::try_from(found.reshape([-1])).unwrap(), frames.concat());
    }

    #[test]
    #[should_panic(expected = "pieces of 12 bytes")]
    fn a_piece_of_another_length_is_refused() {
        let _ = upload(&[&[0; 12], &[0; 11]], &[1, 2, 2, 2, 3], Device::Cpu);
    }

    #[test]
    fn numbers_come_in_order_from_any_layout_and_kind() {
        let x = Tensor::arange(6, (Kind::Float, Device::Cpu)).reshape([2, 3]);
        let found = download(&x, 2).unwrap();
        assert_eq!(found.concat(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(found.iter().map(|piece| piece.len()).collect::<Vec<_>>(), [3, 3]);
        let turned = x.transpose(0, 1).to_kind(Kind::BFloat16);
        assert_eq!(download(&turned, 1).unwrap().concat(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        let large = Tensor::arange(1 << 20, (Kind::Float, Device::Cpu)).reshape([4, 1 << 18]);
        let found = download(&large, 4).unwrap();
        assert!((0..4).all(|piece| found[piece][5] == (piece * (1 << 18) + 5) as f32));
    }

    #[test]
    #[allow(clippy::print_stdout, reason = "a skipped test says so")]
    fn a_gpu_that_is_not_there_is_an_error() {
        own_stream(Device::Cpu).unwrap();
        if tch::utils::has_cuda() {
            println!("skipped: a GPU is there");
            return;
        }
        assert!(own_stream(Device::Cuda(0)).is_err());
        assert!(upload(&[&[0; 3]], &[1, 1, 3], Device::Cuda(0)).is_err());
    }
}
