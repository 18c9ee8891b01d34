//! The separation loss: what moves faster than it ever did should be far from every item.
//!
//! Nothing else in the objective asks that: the losses of prediction and of the items are of normal
//! video alone, which leaves the encoder free to say where something moves and not how. Clips
//! with frames skipped stand in for what was never seen (Astrid 2021, "Synthetic temporal anomaly
//! guided end-to-end video anomaly detection"); here they are only encoded, never generated.

use tch::Tensor;

use crate::Result;
use crate::batch::Batch;
use crate::maps::mean_by_square;
use crate::memory::MemoryPass;
use crate::scatter;

/// Side in pixels of the square that a query stands for.
const QUERY_SIDE: i64 = 8;
/// Below this a clip stands still, and its distance is 0.
const MIN_MOVED: f64 = 1e-9;

/// Clips, and what the memory has for them.
#[derive(Debug)]
pub(super) struct Watched<'a> {
    pub(super) batch: &'a Batch,
    pub(super) memory: &'a MemoryPass,
}

/// `max(0, margin + D − D')`, mean over clips, with `D` the [distance of what moves](distance) in
/// a clip and `D'` in its sped-up companion. A companion of the same speed sends no gradient.
pub(super) fn loss(margin: f64, normal: &Watched<'_>, sped_up: &Watched<'_>) -> Result<Tensor> {
    let lacking = distance(normal)?.f_sub(&distance(sped_up)?)?.f_add_scalar(margin)?;
    Ok(lacking.f_relu()?.f_mean(None)?)
}

/// `Σ_i v_i ‖q_i − m_{a_i}‖² / Σ_i v_i` by clip, `[B]`, with `v_i` the mean square of `x_diff`
/// (Eq. 5) in the part of the frame that query i stands for.
fn distance(clips: &Watched<'_>) -> Result<Tensor> {
    let distance = scatter::squared_distances(clips.memory)?; // [B, K]
    let moved = clips.batch.difference()?.f_square()?.f_mean_dim([1i64].as_slice(), true, None)?;
    let moved = mean_by_square(&moved, QUERY_SIDE)?.f_flatten(1, -1)?; // [B, K]
    let weighted = moved.f_mul(&distance)?;
    Ok(scatter::sum_last(&weighted)?.f_div(&scatter::sum_last(&moved)?.f_clamp_min(MIN_MOVED)?)?)
}
