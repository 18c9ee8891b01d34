//! What a batch reads from the memory.

use tch::Tensor;

use super::vectors::{Metric, like_bottleneck};
use crate::error::Result;

/// One batch's passage through the memory. Tensors are attached to the graph where a loss may
/// need them.
#[derive(Debug)]
pub struct MemoryPass {
    /// `q [B, K, C]`, unit vectors unless `normalize_query` is off.
    pub query: Tensor,
    /// The items that were read, `[N, C]`: `M'` in training, `M` in inference and in a codebook.
    pub items: Tensor,
    /// Similarity `d [B, K, N]` of queries and `items`: their cosine (Eq. 8), or
    /// `1 − ‖q − m‖² / 2` in a codebook, which for unit vectors is the same.
    pub similarity: Tensor,
    /// Nearest item by query, `a [B, K]`, the lowest index on a tie (Eq. 23).
    pub assignment: Tensor,
    /// Queries by nearest item, `n [B, N]`, in the queries' kind.
    pub counts: Tensor,
    /// The read's weights `w [B, K, N]`, which sum to 1 over the items (Eq. 9).
    pub weights: Tensor,
    /// `M'` without its graph, to be stored after the optimiser's step.
    pub(crate) updated: Option<Tensor>,
    pub(crate) metric: Metric,
    /// Whether the items are running means.
    pub(super) follows_queries: bool,
}

impl MemoryPass {
    /// Whether the items are running means, which no loss moves.
    pub(crate) fn follows_queries(&self) -> bool {
        self.follows_queries
    }

    /// `z_hat = w M` (Eq. 10), what the decoders take, in the shape and kind of the bottleneck `z`.
    ///
    /// # Errors
    /// When libtorch refuses, for want of memory for instance.
    pub fn z_hat(&self, z: &Tensor) -> Result<Tensor> {
        like_bottleneck(&self.weights.f_matmul(&self.items)?, z)
    }

    /// Each query's similarity to its nearest item, `d_{i,a_i} [B, K]`.
    ///
    /// # Errors
    /// When libtorch refuses, for want of memory for instance.
    pub fn nearest_similarity(&self) -> Result<Tensor> {
        let index = self.assignment.f_unsqueeze(-1)?;
        Ok(self.similarity.f_gather(-1, &index, false)?.f_squeeze_dim(-1)?)
    }
}
