//! Where a network runs. CUDA's half of libtorch is opened at run time, so that one program serves
//! machines with and without a GPU and builds on either.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tch::Device;

/// The file that CUDA needs beside the libraries the program is linked with.
const CUDA_LIBRARY: &str = "libtorch_cuda.so";

/// A device as configurations name it: `cpu` or `cuda:0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceSpec {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU by its number.
    Cuda(usize),
}

/// A device that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// A name that is none.
    #[error("device is {found:?}; cpu, or cuda:N with N from 0, is expected")]
    Name {
        /// What was asked for.
        found: String,
    },
    /// A GPU was asked for without saying where its library lies.
    #[error(
        "device is {device}, and no libtorch folder is configured; the folder that holds {CUDA_LIBRARY} is expected"
    )]
    NoFolder {
        /// What was asked for.
        device: DeviceSpec,
    },
    /// The folder does not have the library.
    #[error("libtorch folder is {folder:?}; it has no {CUDA_LIBRARY}, which device {device} needs")]
    NoLibrary {
        /// What was asked for.
        device: DeviceSpec,
        /// Where it was looked for, itself and `lib` in it.
        folder: PathBuf,
    },
    /// The library is there and does not load.
    #[error("{library:?} cannot be opened for device {device}: {reason}")]
    Library {
        /// What was asked for.
        device: DeviceSpec,
        /// The file.
        library: PathBuf,
        /// The dynamic linker's words.
        reason: String,
    },
    /// CUDA works, and has no such GPU.
    #[error("device is {device}; this machine has {found} usable CUDA devices")]
    Absent {
        /// What was asked for.
        device: DeviceSpec,
        /// How many there are.
        found: usize,
    },
    /// Something asked libtorch about CUDA before its library was open.
    #[error(
        "device is {device}; libtorch looked for CUDA before {CUDA_LIBRARY} was open and looks only once; a process that opens its devices first is expected"
    )]
    TooLate {
        /// What was asked for.
        device: DeviceSpec,
    },
}

impl DeviceSpec {
    /// tch's name of it, whether or not it is there.
    pub(crate) fn torch(self) -> Device {
        match self {
            Self::Cpu => Device::Cpu,
            Self::Cuda(index) => Device::Cuda(index),
        }
    }

    /// Makes the device usable. Opening one a second time costs nothing.
    ///
    /// Call it before the first operation on tensors: libtorch looks for CUDA once and remembers
    /// the answer, so that even asking whether it is there is too early. `libtorch` is the folder that holds `libtorch_cuda.so`, or whose `lib` does;
    /// the CPU needs none.
    ///
    /// # Errors
    /// When the library or the GPU is missing.
    pub fn open(self, libtorch: Option<&Path>) -> Result<Device, DeviceError> {
        let Self::Cuda(index) = self else { return Ok(Device::Cpu) };
        match libtorch {
            Some(folder) => self.load_cuda(folder)?,
            None if tch::utils::has_cuda() => {}
            None => return Err(DeviceError::NoFolder { device: self }),
        }
        if !tch::utils::has_cudart() {
            return Err(DeviceError::TooLate { device: self });
        }
        let found = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
        if index >= found {
            return Err(DeviceError::Absent { device: self, found });
        }
        // cuDNN tries its algorithms out for every shape that comes, and keeps the fastest.
        tch::Cuda::cudnn_set_benchmark(true);
        Ok(Device::Cuda(index))
    }

    fn load_cuda(self, folder: &Path) -> Result<(), DeviceError> {
        let candidates = [folder.join(CUDA_LIBRARY), folder.join("lib").join(CUDA_LIBRARY)];
        let library = candidates
            .into_iter()
            .find(|path| path.is_file())
            .ok_or_else(|| DeviceError::NoLibrary { device: self, folder: folder.to_owned() })?;
        open_globally(&library).map_err(|reason| DeviceError::Library {
            device: self,
            library,
            reason,
        })
    }
}

/// Opens a library for good, its symbols visible to all others.
#[allow(unsafe_code, reason = "opening a library runs its initialisers; libtorch's only register")]
fn open_globally(library: &Path) -> Result<(), String> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

    // SAFETY: the file is libtorch's CUDA half, whose initialisers register its kernels with the
    // libtorch that this program is linked with, and need nothing of the caller.
    match unsafe { Library::open(Some(library), RTLD_NOW | RTLD_GLOBAL) } {
        Ok(handle) => {
            // Closing it would leave libtorch with pointers into nothing.
            std::mem::forget(handle);
            Ok(())
        }
        Err(error) => Err(error.to_string().lines().next().unwrap_or_default().to_owned()),
    }
}

impl FromStr for DeviceSpec {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let index = || text.strip_prefix("cuda:")?.parse().ok();
        match text {
            "cpu" => Ok(Self::Cpu),
            _ => {
                index().map(Self::Cuda).ok_or_else(|| DeviceError::Name { found: text.to_owned() })
            }
        }
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl TryFrom<String> for DeviceSpec {
    type Error = DeviceError;
    fn try_from(text: String) -> Result<Self, DeviceError> {
        text.parse()
    }
}

impl From<DeviceSpec> for String {
    fn from(device: DeviceSpec) -> Self {
        device.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_and_printed() {
        for name in ["cpu", "cuda:0", "cuda:13"] {
            assert_eq!(name.parse::<DeviceSpec>().unwrap().to_string(), name);
        }
        for name in ["", "gpu", "cuda", "cuda:", "cuda:-1", "CPU"] {
            let message = name.parse::<DeviceSpec>().unwrap_err().to_string();
            assert!(message.contains(&format!("{name:?}; cpu, or cuda:N")), "{message}");
        }
    }

    #[test]
    #[allow(clippy::print_stdout, reason = "a skipped test says so")]
    fn a_gpu_without_its_library_is_a_clear_error() {
        let gpu = DeviceSpec::Cuda(0);
        if gpu.open(None).is_ok() {
            println!("skipped: a GPU is there");
            return;
        }
        assert_eq!(gpu.open(None), Err(DeviceError::NoFolder { device: gpu }));
        let folder = tempfile::tempdir().unwrap();
        let message = gpu.open(Some(folder.path())).unwrap_err().to_string();
        assert!(message.contains("it has no libtorch_cuda.so"), "{message}");
        std::fs::write(folder.path().join(CUDA_LIBRARY), b"no library").unwrap();
        let error = gpu.open(Some(folder.path())).unwrap_err();
        assert!(matches!(error, DeviceError::Library { .. }), "{error}");
        assert_eq!(DeviceSpec::Cpu.open(None), Ok(Device::Cpu));
    }
}
