//! The encoder that is trained.

use protoguard_checkpoint::plan::PairPlan;
use tch::Tensor;
use tch::nn::Path;

use crate::error::Result;
use crate::layer::{Mode, Pair};

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

    /// The same beside a second batch, where there is one, whose statistics are taken together with
    /// the first's: all of the first, and of the second its bottleneck.
    pub(crate) fn forward_beside(
        &self,
        first: &Tensor,
        second: Option<&Tensor>,
        mode: Mode,
    ) -> Result<(Encoding, Option<Tensor>)> {
        let Some(second) = second else { return Ok((self.forward(first, mode)?, None)) };
        let Encoding { z, skips } = self.forward(&Tensor::f_cat(&[first, second], 0)?, mode)?;
        let (clips, others) = (first.size()[0], second.size()[0]);
        let of_first = |x: &Tensor| x.f_narrow(0, 0, clips);
        let [skip1, skip2, skip3] = &skips;
        let skips = [of_first(skip1)?, of_first(skip2)?, of_first(skip3)?];
        Ok((Encoding { z: of_first(&z)?, skips }, Some(z.f_narrow(0, clips, others)?)))
    }
}

fn halve(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?)
}
