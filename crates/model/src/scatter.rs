//! Traces of the scatter matrices (Eq. 13–16) in closed form, without a C×C matrix.

use protoguard_checkpoint::Within;
use tch::Tensor;

use crate::error::Result;
use crate::memory::{MemoryPass, Metric};

/// `Tr(S_B)` is kept away from zero by this in the discriminative loss.
const MIN_BETWEEN: f64 = 1e-6;

/// The traces by clip.
#[derive(Debug)]
pub struct Scatter {
    /// `Tr(S_W) [B]`: how far queries are from their nearest items.
    pub within: Tensor,
    /// `Tr(S_B) [B]`: how far items are from their mean, weighted by use.
    pub between: Tensor,
}

impl Scatter {
    /// For unit vectors `Tr(S_W) = (2/K) Σ_i n_{a_i} (1 − d_{i,a_i})`, without the factor
    /// `n_{a_i}` for [`Within::Mean`], and `Tr(S_B) = Σ_j (n_j/K) ‖m_j − m̄‖²`.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn of(pass: &MemoryPass, within: Within) -> Result<Self> {
        let queries = pass.assignment.size2()?.1 as f64;
        let mut distance = squared_distances(pass)?; // [B, K]
        if within == Within::Paper {
            distance = distance.f_mul(&pass.counts.f_gather(1, &pass.assignment, false)?)?;
        }
        let mean = pass.items.f_mean_dim([0i64].as_slice(), true, None)?; // [1, C]
        let spread = sum_last(&pass.items.f_sub(&mean)?.f_square()?)?; // [N]
        Ok(Self {
            within: sum_last(&distance)?.f_div_scalar(queries)?,
            between: sum_last(&pass.counts.f_mul(&spread)?)?.f_div_scalar(queries)?,
        })
    }

    /// `Tr(S_W) / (Tr(S_B) + 1e-6)` by clip, `[B]` (Eq. 17).
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn ratio(&self) -> Result<Tensor> {
        Ok(self.within.f_div(&self.between.f_add_scalar(MIN_BETWEEN)?)?)
    }
}

/// `‖q_i − m_{a_i}‖² [B, K]`.
pub(crate) fn squared_distances(pass: &MemoryPass) -> Result<Tensor> {
    let cosine = pass.nearest_similarity()?;
    if pass.metric != Metric::Cosine {
        return Ok(cosine.f_rsub_scalar(1.0)?.f_mul_scalar(2.0)?);
    }
    let norm = pass.query.f_norm_scalaropt_dim(2, [-1], false)?;
    let product = norm.f_mul(&cosine)?.f_mul_scalar(2.0)?;
    Ok(norm.f_square()?.f_add_scalar(1.0)?.f_sub(&product)?)
}

/// Sums of the last dimension.
pub(crate) fn sum_last(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_sum_dim_intlist([-1i64].as_slice(), false, None)?)
}
