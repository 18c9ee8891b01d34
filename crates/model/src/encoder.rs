use tch::Tensor;
use tch::nn::Path;

use crate::Result;
use crate::layer::{Mode, Pair};
use crate::plan::PairPlan;

/// The shared encoder (Eq. 1): three levels of [conv, BN, ReLU] × 2, each a skip, each followed
/// by a max pool of 2; then conv, BN, ReLU and a bare conv, so that queries may point anywhere.
#[derive(Debug)]
pub(crate) struct Encoder {
    levels: [Pair; 4],
}

/// What the encoder says of a batch.
#[derive(Debug)]
pub struct Encoding {
    /// The bottleneck, `[B, C, H, H]`.
    pub z: Tensor,
    /// The first three levels: `[B, W, S, S]`, `[B, 2W, S/2, S/2]`, `[B, 4W, S/4, S/4]`.
    pub skips: [Tensor; 3],
}

impl Encoder {
    pub(crate) fn new(root: &Path<'_>, plan: &[PairPlan; 4]) -> Result<Self> {
        let [first, second, third, deepest] = plan;
        let pair = |plan| Pair::new(root, plan);
        Ok(Self { levels: [pair(first)?, pair(second)?, pair(third)?, pair(deepest)?] })
    }

    /// `[B, 3t, S, S]` → [`Encoding`].
    pub(crate) fn forward(&self, input: &Tensor, mode: Mode) -> Result<Encoding> {
        let [first, second, third, deepest] = &self.levels;
        let skip1 = first.forward(input, mode)?;
        let skip2 = second.forward(&halve(&skip1)?, mode)?;
        let skip3 = third.forward(&halve(&skip2)?, mode)?;
        let z = deepest.forward(&halve(&skip3)?, mode)?;
        Ok(Encoding { z, skips: [skip1, skip2, skip3] })
    }
}

fn halve(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?)
}
