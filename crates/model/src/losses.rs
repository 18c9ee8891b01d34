//! The objective (Eq. 6, 7, 17, 18): every term by clip, then averaged, so that none scales with
//! the batch.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::Result;
use crate::batch::Batch;
use crate::config::{LossConfig, ReconstructionLoss};
use crate::network::TrainingPass;
use crate::scatter::Scatter;

/// The losses of a batch, attached to the graph; every tensor is a scalar.
#[derive(Debug)]
pub struct LossTerms {
    /// The weighted sum, to be differentiated.
    pub total: Tensor,
    /// `L_pred`, unweighted.
    pub prediction: Tensor,
    /// `L_diff`, unweighted; absent without a motion branch.
    pub difference: Option<Tensor>,
    /// `L_dis`, unweighted; absent without a memory or with weight 0.
    pub discriminative: Option<Tensor>,
}

/// The losses of one step as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepLosses {
    /// The weighted sum.
    pub total: f64,
    /// `L_pred`, unweighted.
    pub prediction: f64,
    /// `L_diff`, unweighted; absent without a motion branch.
    pub difference: Option<f64>,
    /// `L_dis`, unweighted; absent without a memory or with weight 0.
    pub discriminative: Option<f64>,
}

/// `L = w_pred L_pred + w_diff L_diff + w_dis L_dis`.
///
/// # Errors
/// When a clip of the batch has no target, or libtorch refuses.
pub fn compute(config: &LossConfig, batch: &Batch, pass: &TrainingPass) -> Result<LossTerms> {
    let reconstruction = |true_picture: &Tensor, generated: &Tensor| {
        reconstruct(config.reconstruction, true_picture, generated)
    };
    let prediction = reconstruction(batch.required_target()?, &pass.prediction)?;
    let mut total = prediction.f_mul_scalar(config.prediction_weight)?;
    let mut difference = None;
    if let Some(generated) = &pass.difference {
        let loss = reconstruction(&batch.difference()?, generated)?;
        total = total.f_add(&loss.f_mul_scalar(config.difference_weight)?)?;
        difference = Some(loss);
    }
    let mut discriminative = None;
    if let Some(memory) = pass.memory.as_ref().filter(|_| config.discriminative_weight > 0.0) {
        let loss = Scatter::of(memory, config.within)?.ratio()?.f_mean(None)?;
        total = total.f_add(&loss.f_mul_scalar(config.discriminative_weight)?)?;
        discriminative = Some(loss);
    }
    Ok(LossTerms { total, prediction, difference, discriminative })
}

/// Mean over clips of `sqrt(sum of squares + 1e-12)`, or of the mean of squares. At least f32,
/// where a sum over a quarter of a million pixels would overflow a half.
fn reconstruct(
    kind: ReconstructionLoss,
    true_picture: &Tensor,
    generated: &Tensor,
) -> Result<Tensor> {
    let generated = crate::layer::at_least_f32(generated)?;
    let squares = true_picture.f_sub(&generated)?.f_square()?;
    if kind == ReconstructionLoss::Mse {
        return Ok(squares.f_mean(None)?);
    }
    let sums = squares.f_sum_dim_intlist([1i64, 2, 3].as_slice(), false, None)?; // [B]
    Ok(sums.f_add_scalar(1e-12)?.f_sqrt()?.f_mean(None)?)
}

impl LossTerms {
    /// The numbers, with one synchronisation of the device.
    ///
    /// # Errors
    /// When the device failed in the meantime.
    pub fn read(&self) -> Result<StepLosses> {
        let present = [
            Some(&self.total),
            Some(&self.prediction),
            self.difference.as_ref(),
            self.discriminative.as_ref(),
        ];
        let terms: Vec<Tensor> =
            present.iter().flatten().map(|term| term.f_detach()).collect::<Result<_, _>>()?;
        let stacked = Tensor::f_stack(&terms, 0)?.f_to_kind(Kind::Double)?;
        let mut values = Vec::<f64>::try_from(&stacked)?.into_iter();
        let mut next = || values.next().unwrap_or(f64::NAN);
        Ok(StepLosses {
            total: next(),
            prediction: next(),
            difference: self.difference.as_ref().map(|_| next()),
            discriminative: self.discriminative.as_ref().map(|_| next()),
        })
    }
}
