//! A variable of a network, by its path.

use tch::Tensor;

/// A tensor and the path of the variable that it is. The tensor shares the variable's storage.
#[derive(Debug)]
pub struct NamedTensor {
    /// The variable's path.
    pub name: String,
    /// The variable itself, not a copy.
    pub tensor: Tensor,
}
