//! The arithmetic of queries and items.

use protoguard_checkpoint::{MemoryConfig, MemoryUpdate};
use tch::{Kind, Tensor};

use crate::error::Result;
use crate::layer::at_least_f32;

/// Norm below which a query is not stretched to a unit vector.
const MIN_QUERY_NORM: f64 = 1e-6;

/// What the similarity of a query and an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// The cosine of unit vectors, `1 − ‖q − m‖² / 2` (Eq. 8).
    Unit,
    /// The cosine of a raw query and a unit item.
    Cosine,
    /// `1 − ‖q − m‖² / 2` of raw vectors, which for unit ones would be their cosine.
    Euclidean,
}

impl Metric {
    pub(super) fn of(config: &MemoryConfig) -> Self {
        match config.update {
            _ if config.normalize_query => Self::Unit,
            MemoryUpdate::Paper => Self::Cosine,
            MemoryUpdate::Ema => Self::Euclidean,
        }
    }
}

/// `[B, C, H, H]` → `[B, K, C]`; free of copies where z lies channels last.
pub(super) fn rows(z: &Tensor) -> Result<Tensor> {
    let (batch, channels, height, width) = z.size4()?;
    Ok(z.f_permute([0, 2, 3, 1])?.f_reshape([batch, height * width, channels])?)
}

/// `[B, K, C]` → `[B, C, H, H]` in z's kind.
pub(super) fn like_bottleneck(rows: &Tensor, z: &Tensor) -> Result<Tensor> {
    let (batch, channels, height, width) = z.size4()?;
    let spread = rows.f_reshape([batch, height, width, channels])?.f_permute([0, 3, 1, 2])?;
    Ok(spread.f_to_kind(z.kind())?)
}

pub(super) fn norms(rows: &Tensor) -> Result<Tensor> {
    Ok(rows.f_norm_scalaropt_dim(2, [-1], true)?)
}

/// `q / max(‖q‖, 1e-6)`.
pub(super) fn unit_queries(query: &Tensor) -> Result<Tensor> {
    Ok(query.f_div(&norms(query)?.f_clamp_min(MIN_QUERY_NORM)?)?)
}

/// Rows divided by their norms.
pub(super) fn normalize_rows(rows: &Tensor) -> Result<Tensor> {
    Ok(rows.f_div(&norms(rows)?.f_clamp_min(1e-12)?)?)
}

/// Root mean square of the norms of `z`'s queries, `[1]` in f32 or wider, without a graph.
pub(super) fn root_mean_square(z: &Tensor) -> Result<Tensor> {
    let z = at_least_f32(&z.f_detach()?)?;
    let channels = z.size4()?.1 as f64;
    let mean = z.f_square()?.f_mean(None)?.f_mul_scalar(channels)?;
    Ok(mean.f_sqrt()?.f_clamp_min(MIN_QUERY_NORM)?.f_reshape([1])?)
}

/// `[…, N]` of queries `[…, C]` and items `[N, C]`.
pub(super) fn similarity(query: &Tensor, items: &Tensor, metric: Metric) -> Result<Tensor> {
    let transposed = items.f_transpose(0, 1)?;
    match metric {
        Metric::Unit => Ok(query.f_matmul(&transposed)?),
        Metric::Cosine => Ok(unit_queries(query)?.f_matmul(&transposed)?),
        Metric::Euclidean => {
            let half_square =
                |x: &Tensor| -> Result<Tensor> { Ok(norms(x)?.f_square()?.f_mul_scalar(0.5)?) };
            let (of_query, of_items) = (half_square(query)?, half_square(items)?);
            let product = query.f_matmul(&transposed)?.f_add_scalar(1.0)?;
            Ok(product.f_sub(&of_query)?.f_sub(&of_items.f_transpose(0, 1)?)?)
        }
    }
}

/// Index of the largest similarity, the lowest one on a tie on every device.
pub(super) fn assign(similarity: &Tensor) -> Result<Tensor> {
    let items = similarity.size().last().copied().unwrap_or(0);
    let largest = similarity.f_amax([-1], true)?;
    let index = Tensor::f_arange(items, (Kind::Int64, similarity.device()))?;
    // A row of NaN equals nothing; the clamp keeps its index in range until the loss shows it.
    let elsewhere = similarity.f_ne_tensor(&largest)?;
    let candidates = index.f_expand_as(similarity)?.f_masked_fill(&elsewhere, items)?;
    Ok(candidates.f_amin([-1], false)?.f_clamp_max(items - 1)?)
}

/// `n [B, N]` of an assignment `[B, K]`, in the kind of `similarity [B, K, N]`.
pub(super) fn count(assignment: &Tensor, similarity: &Tensor) -> Result<Tensor> {
    let (batch, _, items) = similarity.size3()?;
    let kind = (similarity.kind(), similarity.device());
    let ones = Tensor::f_ones(assignment.size(), kind)?;
    Ok(Tensor::f_zeros([batch, items], kind)?.f_scatter_add(1, assignment, &ones)?)
}
