//! The layers that are trained: a convolution with what follows it, and two of them.

use protoguard_checkpoint::plan::{LayerPlan, PairPlan};
use protoguard_kernels::layout::channels_last;
use protoguard_kernels::winograd::trained;
use tch::nn::{Init, Path, f_init};
use tch::{Kind, Tensor};

use crate::error::Result;

/// Whether BatchNorm uses the batch's statistics, and learns from them, or the stored ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Training,
    Inference,
}

/// A 3×3 convolution (stride 1, pad 1) or up-convolution (ConvTranspose, stride 2, pad 1, output
/// padding 1) with bias, and BatchNorm and ReLU after it unless it is a last layer.
#[derive(Debug)]
pub(crate) struct Layer {
    up: bool,
    weight: Tensor,
    bias: Tensor,
    norm: Option<BatchNorm>,
}

#[derive(Debug)]
struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

impl Layer {
    /// Weights as PyTorch initialises them: uniform in ±1/sqrt(fan_in), which is
    /// `kaiming_uniform(a = sqrt 5)`. The fan-in is 9 times the weight's second dimension, as
    /// PyTorch counts it, so that an up-convolution's is its number of **outputs**.
    pub(crate) fn new(root: &Path<'_>, plan: &LayerPlan) -> Result<Self> {
        let block = plan.block.split('.').fold(root.clone(), |path, part| path / part);
        let (inputs, outputs) = (plan.inputs as i64, plan.outputs as i64);
        let shape = if plan.up { [inputs, outputs, 3, 3] } else { [outputs, inputs, 3, 3] };
        let bound = 1.0 / ((shape[1] * 9) as f64).sqrt();
        let uniform = Init::Uniform { lo: -bound, up: bound };
        let path = &block / plan.name;
        Ok(Self {
            up: plan.up,
            weight: path.add(
                "weight",
                channels_last(&f_init(uniform, &shape, path.device(), path.kind())?)?,
                true,
            ),
            bias: path.f_var("bias", &[outputs], uniform)?,
            norm: plan.norm.map(|name| BatchNorm::new(&(&block / name), outputs)).transpose()?,
        })
    }

    /// `[B, inputs, h, w]` → `[B, outputs, h, w]`, or twice the side for an up-convolution.
    pub(crate) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let x = self.convolve(x)?;
        let Some(norm) = &self.norm else { return Ok(x) };
        Ok(norm.forward(&x, mode)?.f_relu_()?)
    }

    fn convolve(&self, x: &Tensor) -> Result<Tensor> {
        if !self.up
            && let Some(made) = trained(x, &self.weight, &self.bias)?
        {
            return Ok(made);
        }
        // A copy in reduced precision; the gradient comes back to the master in its own kind.
        let (weight, bias) = (in_kind_of(&self.weight, x)?, in_kind_of(&self.bias, x)?);
        Ok(if self.up {
            x.f_conv_transpose2d(&weight, Some(&bias), [2, 2], [1, 1], [1, 1], 1, [1, 1])?
        } else {
            x.f_conv2d(&weight, Some(&bias), [1, 1], [1, 1], [1, 1], 1)?
        })
    }
}

/// Keeps BatchNorm's denominator from zero.
pub(crate) const BATCH_NORM_EPS: f64 = 1e-5;

impl BatchNorm {
    const MOMENTUM: f64 = 0.1;

    fn new(path: &Path<'_>, channels: i64) -> Result<Self> {
        Ok(Self {
            weight: path.f_var("weight", &[channels], Init::Const(1.0))?,
            bias: path.f_var("bias", &[channels], Init::Const(0.0))?,
            running_mean: path.f_zeros_no_train("running_mean", &[channels])?,
            running_var: path.f_ones_no_train("running_var", &[channels])?,
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        Ok(x.f_batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.running_mean),
            Some(&self.running_var),
            mode == Mode::Training,
            Self::MOMENTUM,
            BATCH_NORM_EPS,
            true,
        )?)
    }
}

/// Two layers at the same side.
#[derive(Debug)]
pub(crate) struct Pair([Layer; 2]);

impl Pair {
    pub(crate) fn new(root: &Path<'_>, [first, second]: &PairPlan) -> Result<Self> {
        Ok(Self([Layer::new(root, first)?, Layer::new(root, second)?]))
    }

    pub(crate) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let [first, second] = &self.0;
        second.forward(&first.forward(x, mode)?, mode)
    }
}

fn in_kind_of(variable: &Tensor, x: &Tensor) -> Result<Tensor> {
    if variable.kind() == x.kind() {
        return Ok(variable.shallow_clone());
    }
    Ok(variable.f_to_kind(x.kind())?)
}

/// Memory arithmetic is never below f32, even where the convolutions are.
pub(crate) fn at_least_f32(x: &Tensor) -> Result<Tensor> {
    match x.kind() {
        Kind::Half | Kind::BFloat16 => Ok(x.f_to_kind(Kind::Float)?),
        _ => Ok(x.shallow_clone()),
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, nn};

    use super::*;

    fn layer(up: bool) -> (nn::VarStore, Layer) {
        tch::manual_seed(3);
        let store = nn::VarStore::new(Device::Cpu);
        let plan = LayerPlan {
            block: "encoder.1".to_owned(),
            name: "conv1",
            norm: Some("norm1"),
            up,
            inputs: 4,
            outputs: 16,
        };
        let layer = Layer::new(&store.root(), &plan).unwrap();
        (store, layer)
    }

    #[test]
    fn initial_weights_fill_pytorchs_bounds() {
        for (up, fan_in) in [(false, 4.0 * 9.0), (true, 16.0 * 9.0)] {
            let (_store, layer) = layer(up);
            let bound = 1.0 / f64::sqrt(fan_in);
            let largest = layer.weight.abs().max().double_value(&[]);
            assert!(largest <= bound && largest > 0.95 * bound, "{largest} against {bound}");
            assert!(layer.bias.abs().max().double_value(&[]) <= bound);
        }
    }

    #[test]
    fn variables_are_named_by_their_path() {
        let (store, layer) = layer(false);
        let variables = store.variables();
        assert!(variables.contains_key("encoder.1.conv1.weight"));
        assert!(variables.contains_key("encoder.1.norm1.running_var"));
        assert_eq!(store.trainable_variables().len(), 4);
        let y = layer.forward(&Tensor::zeros([2, 4, 8, 8], tch::kind::FLOAT_CPU), Mode::Inference);
        assert_eq!(y.unwrap().size(), [2, 16, 8, 8]);
    }
}
