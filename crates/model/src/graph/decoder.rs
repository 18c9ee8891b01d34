//! The decoders as they are served.

use std::collections::BTreeMap;

use protoguard_checkpoint::plan::{DecoderPlan, LayerPlan, PairPlan, StagePlan};
use protoguard_kernels::convolution::Activation;
use tch::{Kind, Tensor};

use super::bottom::Bottom;
use super::convolution::{Convolution, Folded};
use super::quantized::up::UpLayer;
use super::quantized::{Edges, Layer, QuantizedConvolution};
use super::setting::{Numbers, Setting};
use crate::error::Result;

/// Either decoder.
#[derive(Debug)]
pub(super) struct GraphDecoder {
    bottom: Bottom,
    second: Layer,
    stages: Vec<Stage>,
    last: Convolution,
}

#[derive(Debug)]
struct Stage {
    up: UpLayer,
    first: First,
    second: Layer,
}

/// The convolution after an up-convolution.
#[derive(Debug)]
enum First {
    /// In the motion decoder: over the up-convolution's output alone.
    Alone(Layer),
    /// A convolution over cat(skip, up) as the sum of one over either: nothing is concatenated.
    Sum { skip: Convolution, up: Convolution },
    /// u8 is concatenated where it is made: by the up-convolution, or of its output in the same pass
    /// over memory.
    Beside(QuantizedConvolution),
}

/// What a decoder is built from.
pub(super) struct DecoderParts<'a> {
    pub(super) plan: &'a DecoderPlan,
    pub(super) tensors: &'a BTreeMap<String, Tensor>,
    /// The memory's items `[N, C]` in f64, where they are to be folded into the first kernel.
    pub(super) items: Option<&'a Tensor>,
    /// Whose levels are the skips, where the decoder takes them.
    pub(super) encoder: &'a [PairPlan; 4],
    pub(super) last: Activation,
}

impl GraphDecoder {
    pub(super) fn new(parts: &DecoderParts<'_>, setting: &Setting) -> Result<Self> {
        let DecoderParts { plan, tensors, items, encoder, last } = *parts;
        let side = setting.query_side;
        let folded = |layer| Folded::new(layer, tensors);
        let [first, second] = &plan.bottom;
        let takes_bytes = |stage: Option<&StagePlan>| {
            stage.is_some_and(|it| UpLayer::takes_bytes(&it.up, setting))
        };
        let stage = |level: usize| {
            let stage = StageParts {
                plan: &plan.stages[level],
                before: level.checked_sub(1).map_or(second, |above| &plan.stages[above].pair[1]),
                skip: &encoder[2 - level][1],
                narrow: takes_bytes(plan.stages.get(level + 1)),
            };
            Stage::new(&stage, tensors, side << level, setting)
        };
        let stages = (0..plan.stages.len()).map(stage).collect::<Result<_>>()?;
        let edges = Edges { inputs: &[first], narrow: takes_bytes(plan.stages.first()) };
        let second = Layer::new(&folded(second)?, Activation::Relu, side, setting, &edges)?;
        Ok(Self {
            bottom: Bottom::new(&folded(first)?, items, setting)?,
            second,
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

/// What a stage is built from.
struct StageParts<'a> {
    plan: &'a StagePlan,
    /// The layer that makes its input.
    before: &'a LayerPlan,
    skip: &'a LayerPlan,
    /// Whether what it makes may be u8.
    narrow: bool,
}

impl Stage {
    /// For inputs of `side` × `side` pixels.
    fn new(
        parts: &StageParts<'_>,
        tensors: &BTreeMap<String, Tensor>,
        side: i64,
        setting: &Setting,
    ) -> Result<Self> {
        let StageParts { plan, before, skip, narrow } = *parts;
        let [first, second] = &plan.pair;
        let up = Folded::new(&plan.up, tensors)?;
        let of_up = Edges { inputs: &[before], narrow: UpLayer::takes_bytes(&plan.up, setting) };
        let folded = Folded::new(second, tensors)?;
        let of_second = Edges { inputs: &[first], narrow };
        Ok(Self {
            up: UpLayer::new(&up, side, setting, &of_up)?,
            first: First::new(first, tensors, [skip, &plan.up], 2 * side, setting)?,
            second: Layer::new(&folded, Activation::Relu, 2 * side, setting, &of_second)?,
        })
    }

    fn forward(&self, x: &Tensor, skip: Option<&Tensor>) -> Result<Tensor> {
        let up = self.up.forward(x, skip)?;
        self.second.forward(&self.first.forward(&up, skip)?)
    }
}

impl First {
    fn new(
        plan: &LayerPlan,
        tensors: &BTreeMap<String, Tensor>,
        [skip, up]: [&LayerPlan; 2],
        side: i64,
        setting: &Setting,
    ) -> Result<Self> {
        let whole = Folded::new(plan, tensors)?;
        let relu = Activation::Relu;
        if plan.inputs == up.outputs {
            let edges = Edges { inputs: &[up], narrow: true };
            return Layer::new(&whole, relu, side, setting, &edges).map(Self::Alone);
        }
        if let Numbers::Quantized(ranges) = &setting.numbers {
            let edges = Edges { inputs: &[skip, up], narrow: true };
            let numbers = (setting.kind, ranges);
            let first = QuantizedConvolution::new(&whole, true, side, numbers, &edges)?;
            return Ok(Self::Beside(first));
        }
        // The skip comes first in the concatenation, and carries the bias.
        let (before, after) = (skip.outputs as i64, up.outputs as i64);
        let mut of_skip = whole.inputs(0, before)?;
        of_skip.bias = whole.bias.shallow_clone();
        let mut of_up = whole.inputs(before, after)?;
        // What it is added to makes the layer whole.
        of_up.path.clone_from(&whole.path);
        Ok(Self::Sum {
            skip: Convolution::new(&of_skip, Activation::None, side, setting)?,
            up: Convolution::new(&of_up, relu, side, setting)?.without_bias(),
        })
    }

    fn forward(&self, up: &Tensor, skip: Option<&Tensor>) -> Result<Tensor> {
        let skip = || skip.expect("a decoder that was built with skips is given them");
        match self {
            Self::Alone(layer) => layer.forward(up),
            Self::Sum { skip: of_skip, up: of_up } => of_up.add_to(of_skip.forward(skip())?, up),
            Self::Beside(convolution) if up.kind() == Kind::Uint8 => convolution.forward(up),
            Self::Beside(convolution) => convolution.forward_beside(skip(), up),
        }
    }
}
