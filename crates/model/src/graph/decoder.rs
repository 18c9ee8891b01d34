use std::collections::BTreeMap;

use tch::Tensor;

use super::Setting;
use super::bottom::Bottom;
use super::convolution::{Convolution, Folded};
use crate::Result;
use crate::native::Activation;
use crate::plan::{DecoderPlan, StagePlan};

/// Either decoder, without a concatenation: a convolution over cat(skip, up) is the sum of one
/// over the skip and one over the up-convolution's output.
#[derive(Debug)]
pub(super) struct GraphDecoder {
    bottom: Bottom,
    second: Convolution,
    stages: Vec<Stage>,
    last: Convolution,
}

#[derive(Debug)]
struct Stage {
    up: Convolution,
    /// The first convolution's part that acts on the skip; absent in the motion decoder.
    skip: Option<Convolution>,
    first: Convolution,
    second: Convolution,
}

/// What a decoder is built from.
pub(super) struct DecoderParts<'a> {
    pub(super) plan: &'a DecoderPlan,
    pub(super) tensors: &'a BTreeMap<String, Tensor>,
    /// The memory's items `[N, C]` in f64, where they are to be folded into the first kernel.
    pub(super) items: Option<&'a Tensor>,
    pub(super) last: Activation,
}

impl GraphDecoder {
    pub(super) fn new(parts: &DecoderParts<'_>, setting: Setting) -> Result<Self> {
        let DecoderParts { plan, tensors, items, last } = *parts;
        let side = setting.query_side;
        let folded = |layer| Folded::new(layer, tensors);
        let [first, second] = &plan.bottom;
        let stage = |(plan, side): (&StagePlan, i64)| Stage::new(plan, tensors, side, setting);
        let sides = [side, 2 * side, 4 * side];
        let stages = plan.stages.iter().zip(sides).map(stage).collect::<Result<_>>()?;
        Ok(Self {
            bottom: Bottom::new(&folded(first)?, items, setting)?,
            second: Convolution::new(&folded(second)?, Activation::Relu, side, setting)?,
            stages,
            last: Convolution::new(&folded(&plan.last)?, last, 8 * side, setting)?,
        })
    }

    /// From what was read of the memory, with the encoder's levels where the decoder takes skips.
    pub(super) fn forward(&self, start: &Tensor, skips: Option<&[Tensor; 3]>) -> Result<Tensor> {
        let mut x = self.second.forward(&self.bottom.forward(start)?)?;
        for (level, stage) in self.stages.iter().enumerate() {
            x = stage.forward(&x, skips.map(|skips| &skips[2 - level]))?;
        }
        self.last.forward(&x)
    }
}

impl Stage {
    fn new(
        plan: &StagePlan,
        tensors: &BTreeMap<String, Tensor>,
        side: i64,
        setting: Setting,
    ) -> Result<Self> {
        let relu =
            |folded: &Folded, side| Convolution::new(folded, Activation::Relu, side, setting);
        let [first, second] = &plan.pair;
        let (width, wide) = (first.outputs as i64, first.inputs as i64);
        let whole = Folded::new(first, tensors)?;
        let second = relu(&Folded::new(second, tensors)?, 2 * side)?;
        let up = relu(&Folded::new(&plan.up, tensors)?, side)?;
        if wide == width {
            return Ok(Self { up, skip: None, first: relu(&whole, 2 * side)?, second });
        }
        // The skip comes first in the concatenation, and carries the bias.
        let mut of_skip = whole.inputs(0, wide - width)?;
        of_skip.bias = whole.bias.shallow_clone();
        let skip = Convolution::new(&of_skip, Activation::None, 2 * side, setting)?;
        let first = relu(&whole.inputs(wide - width, width)?, 2 * side)?.without_bias();
        Ok(Self { up, skip: Some(skip), first, second })
    }

    fn forward(&self, x: &Tensor, skip: Option<&Tensor>) -> Result<Tensor> {
        let up = self.up.forward(x)?;
        let first = match (&self.skip, skip) {
            (Some(convolution), Some(skip)) => {
                self.first.add_to(convolution.forward(skip)?, &up)?
            }
            _ => self.first.forward(&up)?,
        };
        self.second.forward(&first)
    }
}
