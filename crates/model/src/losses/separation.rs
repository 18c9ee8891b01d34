//! The separation loss: what is sped up should be farther from the items than it is at its own pace.
//!
//! Nothing else in the objective asks that: the losses of prediction and of the items are of normal
//! video alone, which leaves the encoder free to say where something moves and not how. Clips
//! with frames skipped stand in for what was never seen, as in Astrid 2021 ("Synthetic temporal
//! anomaly guided end-to-end video anomaly detection"); here they are only encoded, never
//! generated. It is a loss with a margin between a clip and its companion, and not the feature
//! separateness of Park 2020, which is one between items.

use protoguard_checkpoint::LossConfig;
use tch::{Kind, Tensor};

use crate::batch::Batch;
use crate::error::Result;
use crate::maps::mean_by_square;
use crate::memory::MemoryPass;
use crate::network::TrainingPass;
use crate::scatter::{self, sum_last};

/// Side in pixels of the square that a query stands for.
const QUERY_SIDE: i64 = 8;
/// Mean square of `x_diff` in such a square below which a camera's noise may be all that moves:
/// that of noise of 9 of 255 levels.
const MOVING: f64 = 0.01;
/// ε: keeps the slope of the root finite at a distance of 0.
const SMALLEST_SQUARE: f64 = 1e-4;

/// `mean over clips of max(0, margin + D − D')`, with `D` the [distance of what moves](distance)
/// in a clip and `D'` in its sped-up companion. A clip in which nothing moves has no part in it:
/// there is nothing that could be faster.
pub(super) fn term(
    config: &LossConfig,
    batch: &Batch,
    pass: &TrainingPass,
) -> Result<Option<Tensor>> {
    let companions = batch.sped_up.as_deref().filter(|_| config.separation_weight > 0.0);
    let (Some(memory), Some(of_sped_up), Some(sped_up)) = (&pass.memory, &pass.sped_up, companions)
    else {
        return Ok(None);
    };
    let motion = motion(batch)?;
    let apart =
        distance(memory, &motion)?.f_sub(&distance(of_sped_up, &self::motion(sped_up)?)?)?;
    let lacking = apart.f_add_scalar(config.separation_margin)?.f_relu()?;
    let moves = motion.f_amax([-1i64].as_slice(), false)?.f_ge(MOVING)?;
    Ok(Some(lacking.f_mul(&moves.f_to_kind(Kind::Float)?)?.f_mean(None)?))
}

/// How much moves by query, `[B, K]`: the mean square of `x_diff` (Eq. 5) in its part of the frame.
fn motion(batch: &Batch) -> Result<Tensor> {
    let moved = batch.difference()?.f_square()?.f_mean_dim([1i64].as_slice(), true, None)?;
    Ok(mean_by_square(&moved, QUERY_SIDE)?.f_flatten(1, -1)?)
}

/// `Σ_i v_i √(‖q_i − m_{a_i}‖² + ε) / Σ_i v_i` by clip, `[B]`, with v the motion.
///
/// Not of squares: at the start all queries lie about one item, where a square has no slope, and
/// the losses that draw them to it win. At a learning rate of 0.001 some seeds never left it.
fn distance(pass: &MemoryPass, motion: &Tensor) -> Result<Tensor> {
    // Rounding makes negative ones of squares at 0, which have no root.
    let squared = scatter::squared_distances(pass)?.f_clamp_min(0.0)?;
    let distances = squared.f_add_scalar(SMALLEST_SQUARE)?.f_sqrt()?;
    let weighted = motion.f_mul(&distances)?;
    Ok(sum_last(&weighted)?.f_div(&sum_last(motion)?.f_clamp_min(f64::from(f32::MIN_POSITIVE))?)?)
}
