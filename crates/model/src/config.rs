//! What a network is built from and what it is trained for, as plain data.

use protoguard_core::ClipShape;
use serde::{Deserialize, Serialize};

/// A value that no network can be built from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}; it must be {accepted}")]
pub struct ConfigError {
    /// Path of the field.
    pub field: &'static str,
    /// Its value.
    pub found: String,
    /// What would be accepted.
    pub accepted: &'static str,
}

/// The architecture. Two networks of the same configuration take each other's weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Past frames `t` and side `S`.
    pub shape: ClipShape,
    /// `W`, channels of the first level; the bottleneck has `8 W`. Cost grows with `W²`.
    pub base_width: usize,
    /// Whether the decoder of the RGB difference exists (Table II).
    pub motion_branch: bool,
    /// The memory; without one the decoders read the normalised queries themselves (Table II).
    pub memory: Option<MemoryConfig>,
}

/// The memory of prototypes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// `N`, the number of items (Table IV).
    pub items: usize,
    /// `tau` of the read's softmax (Eq. 9); the paper's is 1.
    pub temperature: f64,
    /// `eta`, the share of the queries in an updated item (Eq. 12); the paper's is 0.5.
    pub update_rate: f64,
    /// Which queries pull an item (Eq. 11).
    pub update_scope: UpdateScope,
    /// How a loss reaches the items.
    pub gradient: MemoryGradient,
    /// Whether queries are unit vectors, as items are. The paper does not say so, but its
    /// distances need it: with raw queries they measure a mismatch of norms.
    pub normalize_query: bool,
}

/// Which queries pull an item in an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateScope {
    /// Only those whose nearest item it is; an item without queries stays as it is.
    Nearest,
    /// All queries, as the paper writes it. It pulls every item to the same mean query.
    All,
}

/// How the gradient of a loss reaches the memory items `M`.
///
/// The values of the first two are the same: Eq. 11 and 12 make `M'` of `M` and the batch's
/// queries, the batch's read and losses use `M'`, and [`crate::Network::commit_memory`] stores it
/// after the optimiser's step. They differ in what flows back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryGradient {
    /// `M'` is a differentiable function of the queries: losses reach the encoder through it.
    ThroughUpdate,
    /// `M'` is a constant: losses reach the encoder through the queries and weights alone.
    None,
    /// `M` is a trained parameter and Eq. 11 and 12 are not applied. The forward uses its rows
    /// normalised, and `commit_memory` puts the stored rows back on the unit sphere.
    Param,
}

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
    /// Weight of the RGB difference's loss.
    pub difference_weight: f64,
    /// Weight of the discriminative loss; 0 turns it off (Table II).
    pub discriminative_weight: f64,
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

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            shape: ClipShape::new(4, 256).expect("4 frames of 256 pixels are within bounds"),
            base_width: 64,
            motion_branch: true,
            memory: Some(MemoryConfig::default()),
        }
    }
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            items: 100,
            temperature: 1.0,
            update_rate: 0.1,
            update_scope: UpdateScope::Nearest,
            gradient: MemoryGradient::ThroughUpdate,
            normalize_query: true,
        }
    }
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            reconstruction: ReconstructionLoss::L2Norm,
            within: Within::Paper,
            prediction_weight: 1.0,
            difference_weight: 0.1,
            discriminative_weight: 1.0,
        }
    }
}

impl ModelConfig {
    /// Bounds that keep a corrupt checkpoint from asking for all memory.
    pub const MAX_BASE_WIDTH: usize = 512;

    /// `C`, channels of the bottleneck, of a query and of a memory item.
    pub fn channels(&self) -> usize {
        8 * self.base_width
    }

    /// `H = S / 8`, height and width of the bottleneck.
    pub fn query_side(&self) -> usize {
        self.shape.side() / 8
    }

    /// `K = H²`, queries a clip.
    pub fn queries(&self) -> usize {
        self.query_side().pow(2)
    }

    /// Checks every field.
    ///
    /// # Errors
    /// Names the first field out of bounds, its value and what would be accepted.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let width = self.base_width;
        require((1..=Self::MAX_BASE_WIDTH).contains(&width), || {
            ("base_width", width.to_string(), "from 1 to 512")
        })?;
        self.memory.as_ref().map_or(Ok(()), MemoryConfig::validate)
    }
}

impl MemoryConfig {
    /// A bound for the same reason.
    pub const MAX_ITEMS: usize = 65_536;

    /// Checks every field.
    ///
    /// # Errors
    /// As [`ModelConfig::validate`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        let Self { items, temperature, update_rate, .. } = *self;
        require((2..=Self::MAX_ITEMS).contains(&items), || {
            ("memory.items", items.to_string(), "from 2 to 65536")
        })?;
        require(temperature.is_finite() && temperature > 0.0, || {
            ("memory.temperature", temperature.to_string(), "a finite number above 0")
        })?;
        require(update_rate > 0.0 && update_rate < 1.0, || {
            ("memory.update_rate", update_rate.to_string(), "above 0 and below 1")
        })
    }
}

impl LossConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// As [`ModelConfig::validate`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        let weights = [
            ("loss.prediction_weight", self.prediction_weight),
            ("loss.difference_weight", self.difference_weight),
            ("loss.discriminative_weight", self.discriminative_weight),
        ];
        weights.into_iter().try_for_each(|(field, weight)| {
            require(weight.is_finite() && weight >= 0.0, || {
                (field, weight.to_string(), "a finite number of at least 0")
            })
        })
    }
}

fn require(
    holds: bool,
    violation: impl FnOnce() -> (&'static str, String, &'static str),
) -> Result<(), ConfigError> {
    if holds {
        return Ok(());
    }
    let (field, found, accepted) = violation();
    Err(ConfigError { field, found, accepted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_method_and_valid() {
        let config = ModelConfig::default();
        config.validate().unwrap();
        LossConfig::default().validate().unwrap();
        assert_eq!((config.channels(), config.queries()), (512, 1024));
    }

    #[test]
    fn errors_name_field_value_and_what_is_accepted() {
        let memory = MemoryConfig { items: 1, ..MemoryConfig::default() };
        let config = ModelConfig { memory: Some(memory), ..ModelConfig::default() };
        let message = config.validate().unwrap_err().to_string();
        assert_eq!(message, "memory.items is 1; it must be from 2 to 65536");
        let loss = LossConfig { difference_weight: f64::NAN, ..LossConfig::default() };
        let message = loss.validate().unwrap_err().to_string();
        assert!(message.starts_with("loss.difference_weight is NaN; it must be"), "{message}");
        let memory = MemoryConfig { update_rate: 1.0, ..MemoryConfig::default() };
        assert_eq!(memory.validate().unwrap_err().field, "memory.update_rate");
        let config = ModelConfig { base_width: 0, ..ModelConfig::default() };
        assert_eq!(config.validate().unwrap_err().field, "base_width");
    }

    #[test]
    fn unknown_keys_are_errors_and_absent_ones_defaults() {
        let config: ModelConfig = serde_json::from_str(r#"{"base_width": 8}"#).unwrap();
        assert_eq!(config, ModelConfig { base_width: 8, ..ModelConfig::default() });
        let config: ModelConfig = serde_json::from_str(r#"{"memory": null}"#).unwrap();
        assert!(config.memory.is_none());
        let error = serde_json::from_str::<MemoryConfig>(r#"{"item": 5}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `item`"), "{error}");
        let loss: LossConfig = serde_json::from_str(r#"{"reconstruction": "l2norm"}"#).unwrap();
        assert_eq!(loss.reconstruction, ReconstructionLoss::L2Norm);
    }
}
