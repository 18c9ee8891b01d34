//! What a network is trained for.

use serde::{Deserialize, Serialize};

use super::bounds::{ConfigError, require};

/// The objective (Eq. 18).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// How far a generated picture is from the true one.
    pub reconstruction: ReconstructionLoss,
    /// How a cluster weighs in the within-class scatter.
    pub within: Within,
    /// Weight of the predicted frame's loss.
    pub prediction_weight: f64,
    /// Weight of the gradient loss: the mean absolute difference of the absolute differences
    /// between neighbouring pixels (Liu 2018); 0 turns it off, as the paper does without it.
    pub gradient_weight: f64,
    /// Weight of the motion branch's loss.
    pub difference_weight: f64,
    /// Weight of the discriminative loss; 0 turns it off (Table II).
    pub discriminative_weight: f64,
    /// Weight of the mean squared distance of queries to their nearest items, in a memory of
    /// running means alone; 0 turns it off.
    pub commitment_weight: f64,
    /// Weight of the separation loss, which draws the queries of sped-up clips away from the items;
    /// 0 turns it off, as the paper does without it.
    pub separation_weight: f64,
    /// By how much the distance to the items of what moves should grow when it is sped up; unit
    /// vectors are at most 2 apart.
    pub separation_margin: f64,
}

/// The distance of a generated picture to the true one, by clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReconstructionLoss {
    /// `sqrt(sum of squares + 1e-12)`, as Eq. 6 and 7 are written.
    #[serde(rename = "l2norm")]
    L2Norm,
    /// The mean of squares; about `10³` times smaller beside the discriminative loss.
    Mse,
}

/// The weight of an item's cluster in the within-class scatter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Within {
    /// `n_j / K` times the **sum** over the cluster, so that it counts `n_j²` (Eq. 16).
    Paper,
    /// `n_j / K` times the **mean** over the cluster.
    Mean,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            reconstruction: ReconstructionLoss::L2Norm,
            within: Within::Paper,
            prediction_weight: 1.0,
            gradient_weight: 0.0,
            difference_weight: 0.1,
            discriminative_weight: 1.0,
            commitment_weight: 0.25,
            separation_weight: 0.0,
            separation_margin: 1.0,
        }
    }
}

impl LossConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// As [`ModelConfig::validate`](super::ModelConfig::validate).
    pub fn validate(&self) -> Result<(), ConfigError> {
        let weights = [
            ("loss.prediction_weight", self.prediction_weight),
            ("loss.gradient_weight", self.gradient_weight),
            ("loss.difference_weight", self.difference_weight),
            ("loss.discriminative_weight", self.discriminative_weight),
            ("loss.commitment_weight", self.commitment_weight),
            ("loss.separation_weight", self.separation_weight),
            ("loss.separation_margin", self.separation_margin),
        ];
        weights.into_iter().try_for_each(|(field, weight)| {
            require(weight.is_finite() && weight >= 0.0, || {
                (field, weight.to_string(), "a finite number of at least 0")
            })
        })
    }
}
