//! What a network is built from and what it is trained for, as plain data.

mod bounds;
mod loss;
mod memory;

use protoguard_core::{CHANNELS, ClipShape};
use serde::{Deserialize, Serialize};

use bounds::require;

pub use bounds::ConfigError;
pub use loss::{LossConfig, ReconstructionLoss, Within};
pub use memory::{EmaConfig, MemoryConfig, MemoryGradient, MemoryUpdate, UpdateScope};

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
    /// The optical flow from every frame to the next: `2t` maps, in pixels. There is no
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
    /// Numbers of one clip's activation at full side: 512 MiB in f32.
    pub const MAX_ACTIVATION: usize = 1 << 27;
    /// Similarities `K N` of one clip's queries and the items: 64 MiB in f32, and twice that as
    /// indices.
    pub const MAX_SIMILARITIES: usize = 1 << 24;

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

    /// Checks every field, and what fields ask for together: a small file may ask for much.
    ///
    /// # Errors
    /// Names the first field out of bounds, or the fields whose product is, the value and what
    /// would be accepted.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let width = self.base_width;
        require((1..=Self::MAX_BASE_WIDTH).contains(&width), || {
            ("base_width", width.to_string(), "from 1 to 512")
        })?;
        self.memory.as_ref().map_or(Ok(()), MemoryConfig::validate)?;
        self.validate_products()
    }

    /// Every factor is within its own bounds, so that no product overflows.
    fn validate_products(&self) -> Result<(), ConfigError> {
        let (side, frames) = (self.shape.side(), self.shape.past_frames());
        let at_full_side = [
            ("base_width × shape.side²", self.base_width),
            ("channels of shape.past_frames × shape.side²", CHANNELS * frames),
            (
                "maps of motion_target × shape.side²",
                if self.motion_branch { self.motion_target.channels(frames) } else { 0 },
            ),
        ];
        for (field, maps) in at_full_side {
            let numbers = maps * side * side;
            require(numbers <= Self::MAX_ACTIVATION, || {
                (field, format!("{maps} × {side}² = {numbers}"), "at most 134217728")
            })?;
        }
        let (queries, items) = (self.queries(), self.memory.as_ref().map_or(0, |it| it.items));
        require(queries * items <= Self::MAX_SIMILARITIES, || {
            let found = format!("({side} / 8)² × {items} = {}", queries * items);
            ("(shape.side / 8)² × memory.items", found, "at most 16777216")
        })
    }
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
        let config = ModelConfig { base_width: 0, ..ModelConfig::default() };
        assert_eq!(config.validate().unwrap_err().field, "base_width");
    }

    #[test]
    fn motion_has_so_many_maps_a_frame() {
        use MotionTarget::{BrighteningDarkening, Flow, RgbDifference};
        let maps = [RgbDifference, BrighteningDarkening, Flow].map(|target| target.channels(5));
        assert_eq!(maps, [15, 30, 10]);
    }

    #[test]
    fn numbers_are_bounded_on_both_sides() {
        for update_rate in [-0.5, 0.0, 1.0, 1.5] {
            let memory = MemoryConfig { update_rate, ..MemoryConfig::default() };
            assert_eq!(memory.validate().unwrap_err().field, "memory.update_rate");
        }
        for temperature in [-1.0, 0.0, f64::INFINITY] {
            let memory = MemoryConfig { temperature, ..MemoryConfig::default() };
            assert_eq!(memory.validate().unwrap_err().field, "memory.temperature");
        }
        for gradient_weight in [-1.0, f64::INFINITY] {
            let loss = LossConfig { gradient_weight, ..LossConfig::default() };
            assert_eq!(loss.validate().unwrap_err().field, "loss.gradient_weight");
        }
    }

    fn sized(base_width: usize, [frames, side, items]: [usize; 3]) -> ModelConfig {
        ModelConfig {
            shape: ClipShape::new(frames, side).unwrap(),
            base_width,
            memory: Some(MemoryConfig { items, ..MemoryConfig::default() }),
            ..ModelConfig::default()
        }
    }

    /// Each field is within its own bounds; the file of such a network may have 2 MB.
    #[test]
    fn fields_that_ask_for_too_much_together_are_refused() {
        let refused = |config: ModelConfig| config.validate().unwrap_err().to_string();
        assert_eq!(
            refused(sized(1, [4, 2048, 65_536])),
            "(shape.side / 8)² × memory.items is (2048 / 8)² × 65536 = 4294967296; it must be at \
             most 16777216"
        );
        assert_eq!(
            refused(sized(512, [4, 2048, 2])),
            "base_width × shape.side² is 512 × 2048² = 2147483648; it must be at most 134217728"
        );
        assert_eq!(
            refused(sized(1, [64, 2048, 2])),
            "channels of shape.past_frames × shape.side² is 192 × 2048² = 805306368; it must be at \
             most 134217728"
        );
        let motion_target = MotionTarget::BrighteningDarkening;
        let doubled = ModelConfig { motion_target, ..sized(1, [8, 2048, 2]) };
        assert_eq!(doubled.validate().unwrap_err().field, "maps of motion_target × shape.side²");
        ModelConfig { motion_branch: false, ..doubled }.validate().unwrap();
    }

    #[test]
    fn bounds_of_products_are_inclusive_and_far_from_what_is_used() {
        // The largest of each, and one more.
        sized(32, [4, 2048, 256]).validate().unwrap();
        assert!(sized(32, [4, 2048, 257]).validate().is_err());
        assert!(sized(33, [4, 2048, 256]).validate().is_err());
        for (width, sizes) in [
            (64, [4, 256, 100]),
            (64, [4, 256, 16_384]),
            (128, [4, 512, 2000]),
            (128, [4, 1024, 1024]),
            (512, [4, 512, 4096]),
            (64, [64, 512, 100]),
        ] {
            sized(width, sizes).validate().unwrap();
        }
        ModelConfig { memory: None, ..sized(1, [4, 2048, 65_536]) }.validate().unwrap();
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
