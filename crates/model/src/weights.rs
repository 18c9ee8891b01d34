//! Between a network's variables and the plain arrays of a checkpoint.

use std::collections::BTreeMap;

use protoguard_checkpoint::{Array, Checkpoint};
use tch::Device;

use crate::arrays::{overwrite, to_array};
use crate::error::Result;
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
            overwrite(self.tensors(), arrays)?;
            self.start_from_items()
        })
    }
}
