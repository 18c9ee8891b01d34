//! The state of a memory, as a checkpoint tells it.

use serde::{Deserialize, Serialize};

/// Perplexity of use below which a memory counts as collapsed.
pub const MIN_PERPLEXITY: f64 = 2.0;
/// `Tr(S_B)` below which a memory counts as collapsed.
pub const MIN_BETWEEN_TRACE: f64 = 1e-4;

/// The state of a memory over some batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryHealth {
    /// Items that are the nearest of at least one query.
    pub items_in_use: usize,
    /// `exp(entropy of n/ΣN)`: the number of items in even use.
    pub perplexity: f64,
    /// Queries of the most used item, over all clips.
    pub largest_count: u64,
    /// Mean cosine of two different items, as of the last batch.
    pub mean_pairwise_cosine: f64,
    /// Mean `Tr(S_W)` a clip, as in the paper.
    pub within_trace: f64,
    /// Mean `Tr(S_B)` a clip.
    pub between_trace: f64,
}

impl MemoryHealth {
    /// `exp(entropy of n/Σn)` of how many queries each item was the nearest of; 1 where there were
    /// none.
    pub fn perplexity_of(counts: &[f64]) -> f64 {
        let total: f64 = counts.iter().sum();
        let shares = counts.iter().map(|count| count / total).filter(|&share| share > 0.0);
        shares.map(|share| -share * share.ln()).sum::<f64>().exp()
    }

    /// What is wrong, where something is.
    pub fn warning(&self) -> Option<String> {
        if self.perplexity < MIN_PERPLEXITY {
            return Some(format!(
                "memory has collapsed: perplexity of use is {:.3}, at least {MIN_PERPLEXITY} is expected",
                self.perplexity
            ));
        }
        (self.between_trace < MIN_BETWEEN_TRACE).then(|| {
            format!(
                "memory has collapsed: Tr(S_B) is {:.3e}, at least {MIN_BETWEEN_TRACE:e} is expected",
                self.between_trace
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perplexity_counts_items_in_even_use() {
        let perplexity = MemoryHealth::perplexity_of;
        assert!((perplexity(&[5.0, 5.0, 0.0, 5.0, 5.0]) - 4.0).abs() < 1e-12);
        assert!((perplexity(&[7.0, 0.0]) - 1.0).abs() < 1e-12);
        assert_eq!(perplexity(&[0.0, 0.0]), 1.0);
    }

    #[test]
    fn warns_of_both_kinds_of_collapse() {
        let healthy = MemoryHealth {
            items_in_use: 9,
            perplexity: 6.0,
            largest_count: 10,
            mean_pairwise_cosine: 0.1,
            within_trace: 3.0,
            between_trace: 0.8,
        };
        assert_eq!(healthy.warning(), None);
        let one_item = MemoryHealth { perplexity: 1.2, ..healthy.clone() };
        assert!(one_item.warning().unwrap().contains("perplexity of use is 1.200"));
        let one_point = MemoryHealth { between_trace: 1e-5, ..healthy };
        assert!(one_point.warning().unwrap().contains("Tr(S_B)"));
    }
}
