//! What the layers of one graph have in common.

use protoguard_checkpoint::ActivationRanges;
use tch::{Device, Kind};

use super::watch::Watch;

/// Where and in which numbers convolutions compute.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) device: Device,
    pub(super) backend: Backend,
    /// Of all that is not quantized.
    pub(super) kind: Kind,
    /// Of the factors of Winograd's products; none where convolutions are computed directly.
    pub(super) factors: Option<Kind>,
    /// Height and width of the bottleneck.
    pub(super) query_side: i64,
    pub(super) numbers: Numbers,
    /// Whether up-convolutions may be of u8.
    pub(super) up_bytes: bool,
}

/// What computes convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backend {
    /// oneDNN, with weights laid out for it once: the CPU's.
    OneDnn,
    /// What libtorch calls for the device.
    Device,
}

/// What activations are between convolutions.
#[derive(Clone, Debug)]
pub(super) enum Numbers {
    /// What convolutions compute in.
    Plain,
    /// The same, with their ranges noted.
    Watched(Watch),
    /// u8 where the next layer takes it, in steps of these ranges.
    Quantized(ActivationRanges),
}
