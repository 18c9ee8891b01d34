//! The decoders that are trained.

use protoguard_checkpoint::plan::{DecoderPlan, StagePlan};
use tch::Tensor;
use tch::nn::Path;

use crate::error::Result;
use crate::layer::{Layer, Mode, Pair, at_least_f32};

/// Either decoder: a pair at the bottleneck, three times up-convolution and pair, and a last
/// convolution without BatchNorm.
///
/// The prediction decoder (Eq. 3) takes the encoder's levels as skips; the motion decoder (Eq. 4)
/// must not, or it would copy its input.
#[derive(Debug)]
pub(crate) struct Decoder {
    bottom: Pair,
    stages: [Stage; 3],
    last: Layer,
}

#[derive(Debug)]
struct Stage {
    up: Layer,
    pair: Pair,
}

impl Decoder {
    pub(crate) fn new(root: &Path<'_>, plan: &DecoderPlan) -> Result<Self> {
        let stage = |plan: &StagePlan| -> Result<Stage> {
            Ok(Stage { up: Layer::new(root, &plan.up)?, pair: Pair::new(root, &plan.pair)? })
        };
        let [third, second, first] = &plan.stages;
        Ok(Self {
            bottom: Pair::new(root, &plan.bottom)?,
            stages: [stage(third)?, stage(second)?, stage(first)?],
            last: Layer::new(root, &plan.last)?,
        })
    }

    /// The predicted frame `[B, 3, S, S]` in [-1, 1], of `z_hat [B, C, H, H]`.
    pub(crate) fn predict(
        &self,
        z_hat: &Tensor,
        skips: &[Tensor; 3],
        mode: Mode,
    ) -> Result<Tensor> {
        let mut x = self.bottom.forward(z_hat, mode)?;
        for (stage, skip) in self.stages.iter().zip(skips.iter().rev()) {
            let up = stage.up.forward(&x, mode)?;
            x = stage.pair.forward(&Tensor::f_cat(&[skip, &up], 1)?, mode)?;
        }
        Ok(at_least_f32(&self.last.forward(&x, mode)?)?.f_tanh()?)
    }

    /// What the last, linear layer makes of `z_hat`, `[B, channels, S, S]`; see
    /// [`crate::MotionMaps`].
    pub(crate) fn generate(&self, z_hat: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut x = self.bottom.forward(z_hat, mode)?;
        for stage in &self.stages {
            x = stage.pair.forward(&stage.up.forward(&x, mode)?, mode)?;
        }
        self.last.forward(&x, mode)
    }
}
