//! Weights on the CPU as oneDNN likes them, for every batch size that comes.
//!
//! The layout that it prefers depends on the shape of the input, its batch size included, and
//! weights that lie otherwise are laid out anew in every pass, by a reference loop that takes longer
//! than the convolution itself.

use std::cell::RefCell;
use std::collections::HashMap;

use protoguard_kernels::convolution::{pack_convolution, pack_up_convolution};
use protoguard_kernels::layout;
use protoguard_kernels::quantized::pack_quantized;
use tch::Tensor;

use crate::error::Result;

/// What the weights are for.
#[derive(Debug)]
pub(super) enum Kernel {
    /// A convolution.
    Straight,
    /// One that doubles the side.
    Up,
    /// A convolution of u8, with what a step of the s8 weights is worth by output channel.
    Quantized(Tensor),
}

#[derive(Debug)]
pub(super) struct PackedWeights {
    /// Channels last.
    plain: Tensor,
    kernel: Kernel,
    side: i64,
    layouts: RefCell<Layouts>,
}

#[derive(Debug, Default)]
struct Layouts {
    /// Each once, with its description.
    weights: Vec<(Vec<u8>, Tensor)>,
    /// The index of the one for a batch size.
    by_batch: HashMap<i64, usize>,
}

impl PackedWeights {
    /// Packs for lone clips of `side` × `side` pixels; others follow when they come.
    pub(super) fn new(plain: Tensor, kernel: Kernel, side: i64) -> Result<Self> {
        let packed = Self { plain, kernel, side, layouts: RefCell::default() };
        packed.of_batch(1).map(drop)?;
        Ok(packed)
    }

    /// The weights for a batch of this size.
    pub(super) fn of_batch(&self, batch: i64) -> Result<Tensor> {
        let mut layouts = self.layouts.borrow_mut();
        let index = match layouts.by_batch.get(&batch) {
            Some(&index) => index,
            None => layouts.add(batch, self.pack(batch)?)?,
        };
        Ok(layouts.weights[index].1.shallow_clone())
    }

    fn pack(&self, batch: i64) -> Result<Tensor> {
        let (outputs, inputs) = (self.plain.size()[0], self.plain.size()[1]);
        let size = |inputs| [batch, inputs, self.side, self.side];
        Ok(match &self.kernel {
            Kernel::Straight => pack_convolution(&self.plain, size(inputs))?,
            // An up-convolution's inputs come first.
            Kernel::Up => pack_up_convolution(&self.plain, size(outputs))?,
            Kernel::Quantized(scales) => pack_quantized(&self.plain, scales, size(inputs))?,
        })
    }
}

impl Layouts {
    fn add(&mut self, batch: i64, packed: Tensor) -> Result<usize> {
        let layout = layout::of_packed(&packed)?;
        let known = self.weights.iter().position(|(known, _)| *known == layout);
        let index = known.unwrap_or(self.weights.len());
        if known.is_none() {
            self.weights.push((layout, packed));
        }
        self.by_batch.insert(batch, index);
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use protoguard_kernels::convolution::{self, Activation};
    use protoguard_kernels::layout::channels_last;
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn every_batch_size_gets_its_weights_and_each_layout_is_kept_once() {
        let kinds = [Kind::Float].into_iter();
        for kind in kinds.chain(convolution::takes_bf16().unwrap().then_some(Kind::BFloat16)) {
            let plain = Tensor::randn([192, 192, 3, 3], (Kind::Float, Device::Cpu));
            let plain = channels_last(&plain.to_kind(kind)).unwrap();
            let weights = PackedWeights::new(plain.shallow_clone(), Kernel::Straight, 8).unwrap();
            for batch in [1, 2, 3, 8, 2, 1] {
                let input = Tensor::randn([batch, 8, 8, 192], (kind, Device::Cpu));
                let input = input.permute([0, 3, 1, 2]);
                let weight = weights.of_batch(batch).unwrap();
                let output =
                    convolution::convolution(&input, &weight, None, Activation::None).unwrap();
                let expected = input.conv2d(&plain, None::<Tensor>, [1, 1], [1, 1], [1, 1], 1);
                let error = (output - &expected).abs().max().double_value(&[]);
                let limit = 0.01 * expected.abs().max().double_value(&[]);
                assert!(error <= limit, "{kind:?}, {batch}: {error}");
            }
            let Layouts { weights, by_batch } = weights.layouts.into_inner();
            assert_eq!(by_batch.len(), 4);
            let descriptions: std::collections::HashSet<_> =
                weights.iter().map(|(layout, _)| layout).collect();
            assert_eq!(descriptions.len(), weights.len());
        }
    }
}
