//! A convolution of the inference graph: BatchNorm folded in, activation fused, weights laid out
//! once.

use std::collections::BTreeMap;

use protoguard_checkpoint::CheckpointError;
use protoguard_checkpoint::plan::LayerPlan;
use protoguard_kernels::convolution::{self, Activation};
use protoguard_kernels::layout::channels_last;
use protoguard_kernels::winograd::{WinogradWeights, fits};
use tch::{Device, Kind, Tensor};

use super::device::DeviceWeights;
use super::packed::{Kernel, PackedWeights};
use super::setting::{Backend, Numbers, Setting};
use super::watch::Watch;
use crate::error::Result;
use crate::layer::BATCH_NORM_EPS;

/// Weights and bias of a layer with its BatchNorm folded in, in f64 on the CPU.
pub(super) struct Folded {
    /// Path of the layer; none for a part of one.
    pub(super) path: Option<String>,
    /// `[outputs, inputs, 3, 3]`, or `[inputs, outputs, 3, 3]` for an up-convolution.
    pub(super) weight: Tensor,
    /// `[outputs]`
    pub(super) bias: Tensor,
    pub(super) up: bool,
}

impl Folded {
    /// `w g/σ` and `(b − μ) g/σ + β`, from the tensors of a network by path.
    pub(super) fn new(plan: &LayerPlan, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        let read = |name: &str, part: &str| -> Result<Tensor> {
            let name = format!("{}.{name}.{part}", plan.block);
            let found = tensors.get(&name);
            let missing = CheckpointError::MissingTensor { name, expected: Vec::new() };
            Ok(found
                .ok_or(missing)?
                .f_detach()?
                .f_to_device(Device::Cpu)?
                .f_to_kind(Kind::Double)?)
        };
        let (weight, bias) = (read(plan.name, "weight")?, read(plan.name, "bias")?);
        let (path, up) = (Some(plan.path()), plan.up);
        let Some(norm) = plan.norm else { return Ok(Self { path, weight, bias, up }) };
        let deviation = read(norm, "running_var")?.f_add_scalar(BATCH_NORM_EPS)?.f_sqrt()?;
        let scale = read(norm, "weight")?.f_div(&deviation)?;
        let shape = if up { [1, -1, 1, 1] } else { [-1, 1, 1, 1] };
        Ok(Self {
            path,
            weight: weight.f_mul(&scale.f_reshape(shape)?)?,
            bias: bias
                .f_sub(&read(norm, "running_mean")?)?
                .f_mul(&scale)?
                .f_add(&read(norm, "bias")?)?,
            up,
        })
    }

    /// Whether Winograd's filtering can compute it.
    fn is_filtered(&self, activation: Activation) -> bool {
        let size = self.weight.size();
        !self.up && activation != Activation::Tanh && fits(size[1], size[0])
    }

    /// The part that acts on some of the inputs, without bias.
    pub(super) fn inputs(&self, first: i64, count: i64) -> Result<Self> {
        let weight = self.weight.f_narrow(i64::from(!self.up), first, count)?;
        Ok(Self { path: None, weight, bias: self.bias.f_zeros_like()?, up: self.up })
    }
}

/// A convolution, ready to run.
#[derive(Debug)]
pub(super) struct Convolution {
    weight: Weight,
    bias: Option<Tensor>,
    activation: Activation,
    up: bool,
    /// Told of the output, under the layer's path.
    watch: Option<(Watch, String)>,
}

#[derive(Debug)]
enum Weight {
    Packed(PackedWeights),
    Winograd(WinogradWeights),
    Device(DeviceWeights),
}

impl Convolution {
    /// Lays the weights out for inputs of `side` × `side` pixels.
    pub(super) fn new(
        folded: &Folded,
        activation: Activation,
        side: i64,
        setting: &Setting,
    ) -> Result<Self> {
        let (device, kind) = (setting.device, setting.kind);
        let placed = |x: &Tensor| x.f_to_device(device)?.f_to_kind(kind);
        // Channels last in storage, as the activations are.
        let plain = || channels_last(&placed(&folded.weight)?);
        let weight = match setting.backend {
            Backend::OneDnn => match setting.factors.filter(|_| folded.is_filtered(activation)) {
                Some(factors) => Weight::Winograd(WinogradWeights::new(&folded.weight, factors)?),
                None => {
                    let kernel = if folded.up { Kernel::Up } else { Kernel::Straight };
                    Weight::Packed(PackedWeights::new(plain()?, kernel, side)?)
                }
            },
            Backend::Device => Weight::Device(DeviceWeights::new(plain()?, folded.up)),
        };
        let watch = match &setting.numbers {
            Numbers::Watched(watch) => folded.path.clone().map(|path| (watch.clone(), path)),
            Numbers::Plain | Numbers::Quantized(_) => None,
        };
        let bias = match &weight {
            Weight::Winograd(_) => folded.bias.f_to_kind(Kind::Float)?,
            Weight::Packed(_) | Weight::Device(_) => placed(&folded.bias)?,
        };
        Ok(Self { weight, bias: Some(bias), activation, up: folded.up, watch })
    }

    /// The same without its bias: what is added has one already.
    pub(super) fn without_bias(self) -> Self {
        Self { bias: None, ..self }
    }

    /// `[B, inputs, h, w]` channels last → `[B, outputs, h, w]`, or twice the side.
    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let (bias, activation) = (self.bias.as_ref(), self.activation);
        let output = match &self.weight {
            Weight::Packed(weights) => {
                let weight = weights.of_batch(input.size()[0])?;
                if self.up {
                    convolution::up_convolution(input, &weight, bias, activation)?
                } else {
                    convolution::convolution(input, &weight, bias, activation)?
                }
            }
            Weight::Winograd(weights) => weights.forward(input, bias, None, activation)?,
            Weight::Device(weights) => weights.forward(input, bias, activation)?,
        };
        self.seen(output)
    }

    /// `relu(sum + convolution(input))`, in `sum`'s place where the device can.
    pub(super) fn add_to(&self, mut sum: Tensor, input: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref();
        match &self.weight {
            Weight::Packed(weights) => {
                let weight = weights.of_batch(input.size()[0])?;
                convolution::convolution_into(&mut sum, input, &weight, bias)?;
            }
            Weight::Winograd(weights) => {
                sum = weights.forward(input, bias, Some(&mut sum), Activation::Relu)?;
            }
            Weight::Device(weights) => sum = weights.add_to(sum, input, bias)?,
        }
        self.seen(sum)
    }

    fn seen(&self, output: Tensor) -> Result<Tensor> {
        if let Some((watch, path)) = &self.watch {
            watch.see(path, &output)?;
        }
        Ok(output)
    }
}
