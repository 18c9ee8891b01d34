//! Between a network's variables and the plain arrays of a checkpoint.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use crate::Result;
use crate::checkpoint::{Array, Checkpoint, CheckpointError, Dtype};
use crate::network::Network;

impl Network {
    /// A copy of every parameter and buffer that a checkpoint holds, as f32.
    ///
    /// # Errors
    /// When the device failed in the meantime.
    pub fn to_arrays(&self) -> Result<BTreeMap<String, Array>> {
        let tensors = self.tensors().into_iter();
        tensors.map(|(name, tensor)| Ok((name, to_array(&tensor)?))).collect()
    }

    /// The network of a checkpoint, on a device.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn from_checkpoint(checkpoint: &Checkpoint, device: Device) -> Result<Self> {
        let content = checkpoint.content();
        let mut network = Self::new(&content.model, device)?;
        network.load_arrays(&content.tensors)?;
        Ok(network)
    }

    /// Overwrites every parameter and buffer.
    ///
    /// # Errors
    /// When one is missing or of another shape; the network may then hold some of both.
    pub fn load_arrays(&mut self, arrays: &BTreeMap<String, Array>) -> Result<()> {
        tch::no_grad(|| {
            for (name, mut tensor) in self.tensors() {
                let expected: Vec<usize> =
                    tensor.size().iter().map(|&side| side as usize).collect();
                let Some(array) = arrays.get(&name) else {
                    return Err(CheckpointError::MissingTensor { name, expected }.into());
                };
                if array.shape() != expected {
                    let found = array.shape().to_vec();
                    return Err(CheckpointError::Shape { name, found, expected }.into());
                }
                tensor.f_copy_(&from_array(array)?)?;
            }
            self.start_from_items()
        })
    }
}

/// A copy of a tensor as a plain array: i64 and u8 as they are, everything else as f32.
///
/// # Errors
/// When the device failed in the meantime.
pub fn to_array(tensor: &Tensor) -> Result<Array> {
    let (dtype, kind) = match tensor.kind() {
        Kind::Uint8 => (Dtype::U8, Kind::Uint8),
        Kind::Int64 => (Dtype::I64, Kind::Int64),
        _ => (Dtype::F32, Kind::Float),
    };
    let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(kind)?.f_contiguous()?;
    let mut bytes = vec![0; tensor.numel() * dtype.bytes()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    let shape = tensor.size().iter().map(|&side| side as usize).collect();
    Ok(Array::new(dtype, shape, bytes).expect("as many bytes were asked for as the shape has"))
}

/// A copy of a plain array as a tensor on the CPU.
///
/// # Errors
/// When there is no room.
pub fn from_array(array: &Array) -> Result<Tensor> {
    let kind = match array.dtype() {
        Dtype::U8 => Kind::Uint8,
        Dtype::I64 => Kind::Int64,
        Dtype::F16 => Kind::Half,
        Dtype::Bf16 => Kind::BFloat16,
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
    };
    let size: Vec<i64> = array.shape().iter().map(|&side| side as i64).collect();
    Ok(Tensor::f_from_data_size(array.bytes(), &size, kind)?)
}
