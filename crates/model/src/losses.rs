//! The objective (Eq. 6, 7, 17, 18): every term by clip, then averaged, so that none scales with
//! the batch.

mod separation;

use protoguard_checkpoint::{LossConfig, ReconstructionLoss};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::batch::Batch;
use crate::error::Result;
use crate::layer::at_least_f32;
use crate::memory::MemoryPass;
use crate::motion::MotionMaps;
use crate::network::TrainingPass;
use crate::scatter::{self, Scatter};

/// The losses of a batch, attached to the graph; every tensor is a scalar.
#[derive(Debug)]
pub struct LossTerms {
    /// The weighted sum, to be differentiated.
    pub total: Tensor,
    /// `L_pred`, unweighted.
    pub prediction: Tensor,
    /// The gradient loss, unweighted; absent with weight 0.
    pub gradient: Option<Tensor>,
    /// `L_diff`, unweighted; absent without a motion branch.
    pub difference: Option<Tensor>,
    /// `L_diff` of a motion branch that makes nothing but zeros.
    pub difference_zero: Option<Tensor>,
    /// `L_dis`, unweighted; absent without a memory or with weight 0.
    pub discriminative: Option<Tensor>,
    /// Mean squared distance of queries to their nearest items, unweighted; absent without a
    /// memory of running means or with weight 0.
    pub commitment: Option<Tensor>,
    /// What sped-up clips lack of their margin, unweighted; absent without them, without a memory
    /// or with weight 0.
    pub separation: Option<Tensor>,
}

/// The losses of one step as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepLosses {
    /// The weighted sum.
    pub total: f64,
    /// `L_pred`, unweighted.
    pub prediction: f64,
    /// The gradient loss, unweighted; absent with weight 0.
    pub gradient: Option<f64>,
    /// `L_diff`, unweighted; absent without a motion branch.
    pub difference: Option<f64>,
    /// `L_diff` of a motion branch that makes nothing but zeros: what it must fall below.
    pub difference_zero: Option<f64>,
    /// `L_dis`, unweighted; absent without a memory or with weight 0.
    pub discriminative: Option<f64>,
    /// Mean squared distance of queries to their nearest items, unweighted; absent without a
    /// memory of running means or with weight 0.
    pub commitment: Option<f64>,
    /// What sped-up clips lack of their margin, unweighted; absent without them, without a memory
    /// or with weight 0.
    pub separation: Option<f64>,
}

/// `L = w_pred L_pred + w_diff L_diff + w_dis L_dis` (Eq. 18), and the gradient, commitment and
/// separation losses where they have a weight.
///
/// # Errors
/// When a clip of the batch has no target, or libtorch refuses.
pub fn compute(config: &LossConfig, batch: &Batch, pass: &TrainingPass) -> Result<LossTerms> {
    let target = batch.required_target()?;
    let prediction = reconstruct(config.reconstruction, target, &pass.prediction)?;
    let gradient = (config.gradient_weight > 0.0)
        .then(|| gradient_loss(target, &pass.prediction))
        .transpose()?;
    let motion = pass
        .motion
        .as_ref()
        .map(|maps| motion_loss(config.reconstruction, batch, maps))
        .transpose()?;
    let memory = |weight: f64| pass.memory.as_ref().filter(|_| weight > 0.0);
    let discriminative = memory(config.discriminative_weight)
        .map(|memory| -> Result<Tensor> {
            Ok(Scatter::of(memory, config.within)?.ratio()?.f_mean(None)?)
        })
        .transpose()?;
    let commitment = memory(config.commitment_weight)
        .filter(|memory| memory.follows_queries())
        .map(commitment)
        .transpose()?;
    let separation = separation::term(config, batch, pass)?;
    let (difference, difference_zero) =
        motion.map_or((None, None), |motion| (Some(motion.loss), Some(motion.of_zeros)));
    let mut total = prediction.f_mul_scalar(config.prediction_weight)?;
    for (term, weight) in [
        (&gradient, config.gradient_weight),
        (&difference, config.difference_weight),
        (&discriminative, config.discriminative_weight),
        (&commitment, config.commitment_weight),
        (&separation, config.separation_weight),
    ] {
        if let Some(term) = term {
            total = total.f_add(&term.f_mul_scalar(weight)?)?;
        }
    }
    Ok(LossTerms {
        total,
        prediction,
        gradient,
        difference,
        difference_zero,
        discriminative,
        commitment,
        separation,
    })
}

/// What the motion branch loses, both scalars.
#[derive(Debug)]
pub struct MotionLoss {
    /// `L_diff` (Eq. 7) of what the branch is to make.
    pub loss: Tensor,
    /// The same of zeros.
    pub of_zeros: Tensor,
}

/// `L_diff` of the maps, and of zeros in their place.
///
/// # Errors
/// As [`compute`].
pub fn motion_loss(
    kind: ReconstructionLoss,
    batch: &Batch,
    maps: &MotionMaps,
) -> Result<MotionLoss> {
    let truth = maps.truth(batch)?;
    let of_zeros = reconstruct(kind, &truth, &truth.f_zeros_like()?)?;
    Ok(MotionLoss { loss: reconstruct(kind, &truth, &maps.maps)?, of_zeros })
}

/// `‖q_i − m_{a_i}‖²`, mean over clips and queries. It draws queries to items that do not follow
/// a gradient.
fn commitment(pass: &MemoryPass) -> Result<Tensor> {
    Ok(scatter::squared_distances(pass)?.f_mean(None)?)
}

/// Mean over pixels and channels of `| |∂x ŷ| − |∂x y| | + | |∂y ŷ| − |∂y y| |`, with differences
/// between neighbours (Liu 2018).
fn gradient_loss(target: &Tensor, prediction: &Tensor) -> Result<Tensor> {
    let steps = |x: &Tensor, along: i64| -> Result<Tensor> {
        let last = x.size()[along as usize] - 1;
        Ok(x.f_narrow(along, 1, last)?.f_sub(&x.f_narrow(along, 0, last)?)?.f_abs()?)
    };
    let prediction = at_least_f32(prediction)?;
    let departure = |along| -> Result<Tensor> {
        let departure = steps(&prediction, along)?.f_sub(&steps(target, along)?)?;
        Ok(departure.f_abs()?.f_mean(None)?)
    };
    Ok(departure(2)?.f_add(&departure(3)?)?)
}

/// Mean over clips of `sqrt(sum of squares + 1e-12)`, or of the mean of squares. At least f32,
/// where a sum over a quarter of a million pixels would overflow a half.
fn reconstruct(
    kind: ReconstructionLoss,
    true_picture: &Tensor,
    generated: &Tensor,
) -> Result<Tensor> {
    let generated = at_least_f32(generated)?;
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
            self.gradient.as_ref(),
            self.difference.as_ref(),
            self.difference_zero.as_ref(),
            self.discriminative.as_ref(),
            self.commitment.as_ref(),
            self.separation.as_ref(),
        ];
        let terms: Vec<Tensor> =
            present.iter().flatten().map(|term| term.f_detach()).collect::<Result<_, _>>()?;
        let stacked = Tensor::f_stack(&terms, 0)?.f_to_kind(Kind::Double)?;
        let mut values = Vec::<f64>::try_from(&stacked)?.into_iter();
        let mut next = || values.next().unwrap_or(f64::NAN);
        Ok(StepLosses {
            total: next(),
            prediction: next(),
            gradient: self.gradient.as_ref().map(|_| next()),
            difference: self.difference.as_ref().map(|_| next()),
            difference_zero: self.difference_zero.as_ref().map(|_| next()),
            discriminative: self.discriminative.as_ref().map(|_| next()),
            commitment: self.commitment.as_ref().map(|_| next()),
            separation: self.separation.as_ref().map(|_| next()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_are_the_terms_each_in_its_place() {
        let term = |value: f64| Tensor::from(value as f32).set_requires_grad(true);
        let terms = LossTerms {
            total: term(1.5),
            prediction: term(2.5),
            gradient: Some(term(3.5)),
            difference: None,
            difference_zero: Some(term(4.5)),
            discriminative: Some(term(5.5)),
            commitment: Some(term(6.5)),
            separation: Some(term(8.5)),
        };
        let expected = StepLosses {
            total: 1.5,
            prediction: 2.5,
            gradient: Some(3.5),
            difference: None,
            difference_zero: Some(4.5),
            discriminative: Some(5.5),
            commitment: Some(6.5),
            separation: Some(8.5),
        };
        assert_eq!(terms.read().unwrap(), expected);
        let fewer = LossTerms {
            gradient: None,
            difference: Some(term(7.5)),
            difference_zero: None,
            discriminative: None,
            commitment: None,
            separation: None,
            ..terms
        };
        let expected = StepLosses {
            total: 1.5,
            prediction: 2.5,
            difference: Some(7.5),
            ..StepLosses::default()
        };
        assert_eq!(fewer.read().unwrap(), expected);
    }
}
