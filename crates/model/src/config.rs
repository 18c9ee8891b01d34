//! What a network is built from and what it is trained for, as plain data.

mod loss;
mod memory;

use protoguard_core::{CHANNELS, ClipShape};
use serde::{Deserialize, Serialize};

pub use loss::{LossConfig, ReconstructionLoss, Within};
pub use memory::{EmaConfig, MemoryConfig, MemoryGradient, MemoryUpdate, UpdateScope};

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
    /// Whether the motion decoder exists (Table II).
    pub motion_branch: bool,
    /// What the motion decoder makes (Table III).
    pub motion_target: MotionTarget,
    /// The memory; without one the decoders read the normalised queries themselves (Table II).
    pub memory: Option<MemoryConfig>,
}

/// What the motion decoder makes of a clip, in maps of `[S, S]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MotionTarget {
    /// `x_diff` (Eq. 5): `3t` maps in [-2, 2], as in the paper.
    RgbDifference,
    /// `max(x_diff, 0)` and `max(-x_diff, 0)`: `6t` maps in [0, 2], whose difference is `x_diff`.
    /// A signed target with mean zero is a saddle that the paper's stays on; these are not.
    BrighteningDarkening,
    /// [`crate::flow::field`] from every frame to the next: `2t` maps, in pixels. There is no
    /// `x_diff` to be had of it.
    Flow,
}

impl MotionTarget {
    /// Maps that the motion decoder makes of `frames` past frames.
    pub fn channels(self, frames: usize) -> usize {
        match self {
            Self::RgbDifference => CHANNELS * frames,
            Self::BrighteningDarkening => 2 * CHANNELS * frames,
            Self::Flow => 2 * frames,
        }
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            shape: ClipShape::new(4, 256).expect("4 frames of 256 pixels are within bounds"),
            base_width: 64,
            motion_branch: true,
            motion_target: MotionTarget::RgbDifference,
            memory: Some(MemoryConfig::default()),
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
    fn a_codebook_has_no_trained_items() {
        let memory = MemoryConfig {
            update: MemoryUpdate::Ema,
            gradient: MemoryGradient::Param,
            ..MemoryConfig::default()
        };
        let message = memory.validate().unwrap_err().to_string();
        assert!(message.starts_with("memory.gradient is param; it must be"), "{message}");
        let ema = EmaConfig { decay: 1.0, ..EmaConfig::default() };
        let memory = MemoryConfig { ema, ..MemoryConfig::default() };
        assert_eq!(memory.validate().unwrap_err().field, "memory.ema.decay");
    }

    /// What a checkpoint says that was written before there was a choice.
    #[test]
    fn an_older_configuration_is_the_papers() {
        let older = r#"{"shape": {"past_frames": 4, "side": 64}, "base_width": 8,
            "motion_branch": true, "memory": {"items": 9, "temperature": 0.1, "update_rate": 0.1,
            "update_scope": "nearest", "gradient": "through_update", "normalize_query": true}}"#;
        let config: ModelConfig = serde_json::from_str(older).unwrap();
        assert_eq!(config.motion_target, MotionTarget::RgbDifference);
        assert_eq!(config.memory.unwrap().update, MemoryUpdate::Paper);
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
