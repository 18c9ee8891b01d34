//! Between tensors and the plain arrays of files.

use std::collections::BTreeMap;

use protoguard_checkpoint::{Array, CheckpointError, Dtype};
use tch::{Device, Kind, Tensor};

use crate::error::Result;

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

/// Overwrites every tensor with the array of its name. The tensors take no gradient of it.
///
/// # Errors
/// When an array is missing or of another shape; those before it are overwritten by then.
pub fn overwrite(
    tensors: impl IntoIterator<Item = (String, Tensor)>,
    arrays: &BTreeMap<String, Array>,
) -> Result<()> {
    for (name, mut tensor) in tensors {
        let expected: Vec<usize> = tensor.size().iter().map(|&side| side as usize).collect();
        let Some(array) = arrays.get(&name) else {
            return Err(CheckpointError::MissingTensor { name, expected }.into());
        };
        if array.shape() != expected {
            let found = array.shape().to_vec();
            return Err(CheckpointError::Shape { name, found, expected }.into());
        }
        let values = from_array(array)?;
        tch::no_grad(|| tensor.f_copy_(&values))?;
    }
    Ok(())
}
