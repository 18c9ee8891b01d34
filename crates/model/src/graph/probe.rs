use tch::{Device, Kind, Tensor};

use super::convolution::{Convolution, Folded};
use super::{Backend, Numbers, Setting};
use crate::Result;
use crate::native::Activation;

/// A lone convolution on the CPU, to find out how fast it is there.
#[derive(Debug)]
pub(crate) struct Probe {
    convolution: Convolution,
    input: Tensor,
}

const CHANNELS: i64 = 128;
const SIDE: i64 = 32;

impl Probe {
    /// 128 channels at 32 × 32 pixels, of ones.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub(crate) fn new(kind: Kind) -> Result<Self> {
        let (device, backend) = (Device::Cpu, Backend::OneDnn);
        let setting = Setting { device, backend, kind, query_side: SIDE, numbers: Numbers::Plain };
        let ones = |size: &[i64], kind| Tensor::f_ones(size, (kind, device));
        let folded = Folded {
            path: None,
            weight: ones(&[CHANNELS, CHANNELS, 3, 3], Kind::Double)?,
            bias: ones(&[CHANNELS], Kind::Double)?,
            up: false,
        };
        let input = ones(&[1, SIDE, SIDE, CHANNELS], kind)?.f_permute([0, 3, 1, 2])?;
        let convolution = Convolution::new(&folded, Activation::Relu, SIDE, &setting)?;
        Ok(Self { convolution, input })
    }

    /// One pass.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub(crate) fn forward(&self) -> Result<Tensor> {
        self.convolution.forward(&self.input)
    }
}
