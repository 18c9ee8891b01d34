//! CUDA's half of libtorch, opened at run time: a process of its own, because libtorch looks for
//! CUDA once. Needs no GPU, only the library's folder in `PROTOGUARD_LIBTORCH`.

use std::path::PathBuf;

use protoguard_model::{DeviceError, DeviceSpec};
use tch::Device;

#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn an_opened_library_is_what_libtorch_looks_into() {
    let Some(folder) = std::env::var_os("PROTOGUARD_LIBTORCH").map(PathBuf::from) else {
        eprintln!("skipped: PROTOGUARD_LIBTORCH names no folder with libtorch_cuda.so");
        return;
    };
    let gpu = DeviceSpec::Cuda(0);
    for _ in 0..2 {
        match gpu.open(Some(&folder)) {
            Ok(device) => assert_eq!(device, Device::Cuda(0)),
            Err(error) => assert_eq!(error, DeviceError::Absent { device: gpu, found: 0 }),
        }
    }
}
