//! The architecture as data: which layers there are, how they are named and how wide they are.
//!
//! The network is built from it and a checkpoint is checked against it, so that the two cannot
//! disagree and reading a checkpoint needs no tensor.

use std::collections::BTreeMap;

use protoguard_core::CHANNELS;

use crate::config::ModelConfig;

/// One 3×3 convolution and what follows it.
#[derive(Clone, Debug)]
pub struct LayerPlan {
    /// Path of the block, such as `encoder.1`.
    pub block: String,
    /// Name of the convolution in its block.
    pub name: &'static str,
    /// Name of the BatchNorm, which a ReLU follows; the last layers have neither.
    pub norm: Option<&'static str>,
    /// Whether it doubles the side: ConvTranspose of stride 2 instead of a convolution.
    pub up: bool,
    /// Channels that it takes.
    pub inputs: usize,
    /// Channels that it makes.
    pub outputs: usize,
}

/// Two convolutions at the same side.
pub type PairPlan = [LayerPlan; 2];

/// A level of a decoder above the deepest.
#[derive(Clone, Debug)]
pub struct StagePlan {
    /// Doubles the side.
    pub up: LayerPlan,
    /// What follows at the new side.
    pub pair: PairPlan,
}

/// A decoder, from the bottleneck to the picture.
#[derive(Clone, Debug)]
pub struct DecoderPlan {
    /// At the side of the bottleneck.
    pub bottom: PairPlan,
    /// From the deepest to the first level.
    pub stages: [StagePlan; 3],
    /// Makes the picture, without BatchNorm.
    pub last: LayerPlan,
}

/// Every layer of a network.
#[derive(Clone, Debug)]
pub struct NetworkPlan {
    /// From the first level to the deepest.
    pub encoder: [PairPlan; 4],
    /// Makes the predicted frame.
    pub prediction: DecoderPlan,
    /// Makes the motion maps; absent without a motion branch.
    pub motion: Option<DecoderPlan>,
    /// Absent without a memory.
    pub memory: Option<MemoryPlan>,
}

/// What serving needs of the memory.
#[derive(Clone, Copy, Debug)]
pub struct MemoryPlan {
    /// `[N, C]`.
    pub items: [usize; 2],
    /// Whether queries are divided by a number.
    pub scaled: bool,
}

/// Name of the memory's tensor.
pub const MEMORY_ITEMS: &str = "memory.items";

/// Name of what raw queries are divided by.
pub const MEMORY_SCALE: &str = "memory.scale";

/// Ends the names of the variances that a BatchNorm divides by.
pub const RUNNING_VARIANCE: &str = ".running_var";

impl MemoryPlan {
    fn shapes(self) -> impl Iterator<Item = (String, Vec<usize>)> {
        let scale = self.scaled.then(|| (MEMORY_SCALE.to_owned(), vec![1]));
        [(MEMORY_ITEMS.to_owned(), self.items.to_vec())].into_iter().chain(scale)
    }
}

impl LayerPlan {
    /// Such as `encoder.1.conv1`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.block, self.name)
    }

    fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let Self { block, name, inputs, outputs, .. } = self;
        let weight = if self.up { [*inputs, *outputs, 3, 3] } else { [*outputs, *inputs, 3, 3] };
        let mut shapes = vec![
            (format!("{block}.{name}.weight"), weight.to_vec()),
            (format!("{block}.{name}.bias"), vec![*outputs]),
        ];
        if let Some(norm) = self.norm {
            shapes.extend(
                ["weight", "bias", "running_mean", "running_var"]
                    .map(|tensor| (format!("{block}.{norm}.{tensor}"), vec![*outputs])),
            );
        }
        shapes
    }
}

fn pair(block: &str, inputs: usize, outputs: usize) -> PairPlan {
    let layer = |name, norm, inputs| LayerPlan {
        block: block.to_owned(),
        name,
        norm: Some(norm),
        up: false,
        inputs,
        outputs,
    };
    [layer("conv1", "norm1", inputs), layer("conv2", "norm2", outputs)]
}

impl DecoderPlan {
    /// With `skips`, each pair takes the encoder's level beside the up-convolution's output.
    fn new(branch: &str, width: usize, skips: bool, outputs: usize) -> Self {
        let stage = |level: usize, outputs: usize| {
            let block = format!("{branch}.{level}");
            let up = LayerPlan {
                block: block.clone(),
                name: "up",
                norm: Some("up_norm"),
                up: true,
                inputs: 2 * outputs,
                outputs,
            };
            let wide = if skips { 2 * outputs } else { outputs };
            StagePlan { up, pair: pair(&block, wide, outputs) }
        };
        Self {
            bottom: pair(&format!("{branch}.4"), 8 * width, 8 * width),
            stages: [stage(3, 4 * width), stage(2, 2 * width), stage(1, width)],
            last: LayerPlan {
                block: branch.to_owned(),
                name: "last",
                norm: None,
                up: false,
                inputs: width,
                outputs,
            },
        }
    }

    fn layers(&self) -> impl Iterator<Item = &LayerPlan> {
        let stages =
            self.stages.iter().flat_map(|stage| [&stage.up].into_iter().chain(&stage.pair));
        self.bottom.iter().chain(stages).chain([&self.last])
    }
}

impl NetworkPlan {
    /// The layers of a valid configuration.
    pub fn new(config: &ModelConfig) -> Self {
        let width = config.base_width;
        let stacked = CHANNELS * config.shape.past_frames();
        let mut deepest = pair("encoder.4", 4 * width, 8 * width);
        deepest[1].norm = None;
        Self {
            encoder: [
                pair("encoder.1", stacked, width),
                pair("encoder.2", width, 2 * width),
                pair("encoder.3", 2 * width, 4 * width),
                deepest,
            ],
            prediction: DecoderPlan::new("prediction", width, true, CHANNELS),
            motion: config.motion_branch.then(|| {
                let maps = config.motion_target.channels(config.shape.past_frames());
                DecoderPlan::new("motion", width, false, maps)
            }),
            memory: config.memory.as_ref().map(|memory| MemoryPlan {
                items: [memory.items, config.channels()],
                scaled: memory.scales_query(),
            }),
        }
    }

    /// Name and shape of every tensor that a checkpoint of this architecture has.
    pub fn tensor_shapes(&self) -> BTreeMap<String, Vec<usize>> {
        let layers = self
            .encoder
            .iter()
            .flatten()
            .chain(self.prediction.layers())
            .chain(self.motion.iter().flat_map(DecoderPlan::layers));
        let memory = self.memory.into_iter().flat_map(MemoryPlan::shapes);
        layers.flat_map(LayerPlan::shapes).chain(memory).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MotionTarget;

    fn parameters(branch: &str) -> usize {
        NetworkPlan::new(&ModelConfig::default())
            .tensor_shapes()
            .iter()
            .filter(|(name, _)| name.starts_with(branch) && !name.contains("running"))
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum()
    }

    #[test]
    fn parameter_counts_at_full_size_are_the_methods() {
        assert_eq!(parameters("encoder."), 4_693_376);
        assert_eq!(parameters("prediction."), 8_598_147);
        assert_eq!(parameters("motion."), 7_829_196);
    }

    #[test]
    fn the_motion_target_changes_the_last_layer_alone() {
        let shapes = |motion_target| {
            let config = ModelConfig { motion_target, ..ModelConfig::default() };
            NetworkPlan::new(&config).tensor_shapes()
        };
        let default = shapes(MotionTarget::RgbDifference);
        for (target, maps) in [(MotionTarget::BrighteningDarkening, 24), (MotionTarget::Flow, 8)] {
            let shapes = shapes(target);
            assert_eq!(shapes["motion.last.weight"], [maps, 64, 3, 3]);
            let others = |(name, _): &(&String, &Vec<usize>)| !name.starts_with("motion.last");
            assert!(shapes.iter().filter(others).eq(default.iter().filter(others)));
        }
    }

    #[test]
    fn switches_remove_their_tensors() {
        let config = ModelConfig { motion_branch: false, memory: None, ..ModelConfig::default() };
        let shapes = NetworkPlan::new(&config).tensor_shapes();
        assert!(!shapes.keys().any(|name| name.starts_with("motion") || name == MEMORY_ITEMS));
    }
}
