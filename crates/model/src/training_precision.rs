use std::fmt;

use tch::Kind;

/// What convolutions, their activations and gradients are in training. Weights, BatchNorm's
/// statistics, the memory, losses and the optimiser are f32 in either, so that a step too small
/// for bfloat16's 8 bits is not lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TrainingPrecision {
    /// f32 throughout.
    #[default]
    F32,
    /// bfloat16, from copies of the weights made in every step.
    Bf16,
}

impl TrainingPrecision {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
        }
    }
}

impl fmt::Display for TrainingPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}
