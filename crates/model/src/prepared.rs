//! The batch sizes that a GPU has computed before.

use std::collections::BTreeSet;

use protoguard_core::{Outputs, ScorerInput};

/// Batch sizes that a GPU has computed: cuDNN tries its algorithms out for each anew, which takes
/// longer than many a pass.
#[derive(Debug, Default)]
pub(crate) struct PreparedSizes(BTreeSet<usize>);

impl PreparedSizes {
    /// A batch of this size, or filled up to the next prepared one below twice its size. Only a
    /// batch that does not fill the device is filled up: the largest size is prepared.
    pub(crate) fn fill(&mut self, batch: &[ScorerInput]) -> Vec<ScorerInput> {
        let mut filled = batch.to_vec();
        if let Some(last) = batch.last() {
            let filling = ScorerInput { clip: last.clip.clone(), outputs: Outputs::NONE };
            filled.resize(self.fit(batch.len()), filling);
        }
        filled
    }

    /// The size did not fit the device's memory, or failed otherwise.
    pub(crate) fn failed(&mut self, size: usize) {
        self.0.remove(&size);
    }

    fn fit(&mut self, size: usize) -> usize {
        let next = self.0.range(size..).next().copied();
        next.filter(|&next| next < 2 * size).unwrap_or_else(|| {
            self.0.insert(size);
            size
        })
    }
}

#[cfg(test)]
mod tests {
    use protoguard_core::{Clip, ClipShape, Frame};

    use super::*;

    #[test]
    fn a_batch_fills_up_to_a_size_that_is_prepared() {
        let mut sizes = PreparedSizes::default();
        let prepared = [1, 2, 4, 8].map(|size| sizes.fit(size));
        assert_eq!(prepared, [1, 2, 4, 8]);
        assert_eq!([3, 5, 7, 1].map(|size| sizes.fit(size)), [4, 8, 8, 1]);
        assert_eq!(sizes.fit(20), 20, "nothing is prepared above");
        assert_eq!([10, 11].map(|size| sizes.fit(size)), [10, 20], "10 would double");
        sizes.failed(8);
        assert_eq!(sizes.fit(7), 10);
    }

    #[test]
    fn what_fills_a_batch_up_wants_no_pictures() {
        let shape = ClipShape::new(1, 16).unwrap();
        let frame = |value| Frame::new(16, 16, vec![value; 768]).unwrap();
        let clip = Clip::new(shape, vec![frame(1), frame(2)]).unwrap();
        let input = ScorerInput { clip, outputs: Outputs::ALL };
        let mut sizes = PreparedSizes::default();
        assert_eq!(sizes.fill(&[]).len(), 0);
        sizes.fit(4);
        let filled = sizes.fill(&vec![input; 3]);
        let wants: Vec<bool> = filled.iter().map(|input| input.outputs == Outputs::ALL).collect();
        assert_eq!(wants, [true, true, true, false]);
    }
}
