//! The raw scores of a clip (Eq. 19, 20, 22) and the paper's figures of a memory (Eq. 26–29).

use tch::{Kind, Tensor};

use crate::error::Result;
use crate::memory::MemoryPass;

/// Squared error `[B, S, S]` of prediction and target averaged over channels, both in [-1, 1],
/// the error in units of frames in [0, 1].
///
/// # Errors
/// When libtorch refuses.
pub fn error_map(prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
    let half = target.f_sub(prediction)?.f_mul_scalar(0.5)?;
    Ok(half.f_square()?.f_mean_dim([1i64].as_slice(), false, None)?)
}

/// Mean squared error by clip, `[B]` in f64, of frames in [0, 1] over all channels and pixels.
/// The paper sums over channels, which shifts the PSNR by a constant.
///
/// # Errors
/// When libtorch refuses.
pub fn mean_squared_error(error_map: &Tensor) -> Result<Tensor> {
    Ok(error_map.f_mean_dim([1i64, 2].as_slice(), false, Kind::Double)?)
}

/// `DIST = (1/K) Σ_i ‖q_i − m_{a_i}‖₂` by clip, `[B]` in f64 (Eq. 22).
///
/// Computed from the differences: `sqrt(2 − 2d)` of an f32 cosine near 1 would turn a rounding of
/// 6e-8, which depends on the batch's size, into 3e-4.
///
/// # Errors
/// When libtorch refuses.
pub fn feature_distance(pass: &MemoryPass) -> Result<Tensor> {
    mean_distance(&query_distance(pass)?)
}

/// [`feature_distance`] of a [`feature_distance_map`].
pub(crate) fn mean_distance(by_query: &Tensor) -> Result<Tensor> {
    Ok(by_query.f_flatten(1, -1)?.f_mean_dim([1i64].as_slice(), false, Kind::Double)?)
}

/// [`feature_distance`] by place before its mean, `‖q_i − m_{a_i}‖₂ [B, H, H]`: of each query, which
/// sees 8 × 8 pixels and their surroundings, to its nearest item.
///
/// # Errors
/// When libtorch refuses.
pub fn feature_distance_map(pass: &MemoryPass) -> Result<Tensor> {
    let distance = query_distance(pass)?;
    let (batch, queries) = distance.size2()?;
    let side = queries.isqrt();
    Ok(distance.f_reshape([batch, side, side])?)
}

/// `‖q_i − m_{a_i}‖₂ [B, K]`.
fn query_distance(pass: &MemoryPass) -> Result<Tensor> {
    let (batch, queries, channels) = pass.query.size3()?;
    let nearest = pass.items.f_index_select(0, &pass.assignment.f_reshape([-1])?)?;
    let difference = pass.query.f_sub(&nearest.f_reshape([batch, queries, channels])?)?;
    Ok(difference.f_norm_scalaropt_dim(2, [-1], false)?)
}

/// `D_q` by clip, `[B]` in f64: the mean similarity of queries and their nearest items, which is
/// their cosine (Eq. 28, 29) but in a codebook of raw queries. The paper calls it a distance; it is near 1 for a familiar clip. Average it over clips.
///
/// # Errors
/// When libtorch refuses.
pub fn query_cosine(pass: &MemoryPass) -> Result<Tensor> {
    Ok(pass.nearest_similarity()?.f_mean_dim([1i64].as_slice(), false, Kind::Double)?)
}

/// `D_m = Σ_j cos(m_j, m̄)` (Eq. 26, 27), from items `[N, C]`: N where all items are one, near 0
/// where they point everywhere. Synchronises the device.
///
/// # Errors
/// When libtorch refuses.
pub fn item_cosine_sum(items: &Tensor) -> Result<f64> {
    let items = items.f_detach()?.f_to_kind(Kind::Double)?;
    let mean = items.f_mean_dim([0i64].as_slice(), false, None)?; // [C]
    let norms = items.f_norm_scalaropt_dim(2, [1], false)?; // [N]
    let mean_norm = mean.f_norm_scalaropt_dim(2, [0], false)?;
    let cosines = items.f_mv(&mean)?.f_div(&norms.f_mul(&mean_norm)?.f_clamp_min(1e-12)?)?;
    Ok(f64::try_from(&cosines.f_sum(None)?)?)
}
