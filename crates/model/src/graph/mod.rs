//! The network as it is served: apart from the training graph, and computing the same.
//!
//! Built once from a network's variables: BatchNorm is folded into the convolutions, activations
//! are fused, weights lie as the device's library likes them, storage is channels last
//! throughout, most convolutions take a quarter of the multiplications ([`protoguard_kernels::winograd`]),
//! concatenations are sums, and the memory's items are folded into the decoders' first
//! kernels. Convolutions compute in the chosen [`Precision`]; the memory and the scores are f32 in
//! each.
//!
//! In int8, activations are u8 from the first convolution on, and so are the skips. What reads the
//! memory or comes from it, or makes the picture, stays wide.

mod bottom;
mod convolution;
mod decoder;
mod device;
mod packed;
mod quantized;
mod setting;
pub(crate) mod watch;

use std::collections::BTreeMap;

use protoguard_checkpoint::ActivationRanges;
use protoguard_checkpoint::Precision;
use protoguard_checkpoint::plan::{NetworkPlan, PairPlan};
use protoguard_checkpoint::{ModelConfig, MotionTarget};
use protoguard_kernels::convolution::Activation;
use protoguard_kernels::quantized::halve as halve_bytes;
use protoguard_kernels::winograd::fastest_factors;
use tch::{Device, Kind, Tensor};

use crate::encoder::Encoding;
use crate::error::Result;
use crate::memory::{Memory, MemoryPass, normalized_bottleneck};
use crate::motion::MotionMaps;
use crate::network::Network;
use crate::precision::{kind_of, settled_on};
use convolution::Folded;
use decoder::{DecoderParts, GraphDecoder};
use quantized::up::takes_up_bytes;
use quantized::{Edges, Layer};
use setting::{Backend, Numbers, Setting};
use watch::Watch;

/// A trained network, ready to score on one device, for one thread.
#[derive(Debug)]
pub struct InferenceGraph {
    config: ModelConfig,
    precision: Precision,
    setting: Setting,
    encoder: [Level; 4],
    memory: Option<Memory>,
    /// Whether the decoders start from the memory's weights instead of `z_hat`.
    folds_memory: bool,
    prediction: GraphDecoder,
    motion: Option<GraphDecoder>,
}

#[derive(Debug)]
struct Level([Layer; 2]);

/// What the decoders start from, and what was read from the memory on the way.
#[derive(Debug)]
pub(crate) struct Start {
    /// `z_hat [B, C, H, H]`, or the weights less 1/N `[B, N, H, H]`.
    pub(crate) tensor: Tensor,
    /// Absent without a memory.
    pub(crate) memory: Option<MemoryPass>,
}

impl InferenceGraph {
    /// The graph of a network's present variables, on the network's device.
    ///
    /// # Errors
    /// When the device has no room or cannot compute the precision, or for int8, which needs
    /// [`InferenceGraph::with_ranges`].
    pub fn new(network: &Network, precision: Precision) -> Result<Self> {
        Self::with_ranges(network, precision, &ActivationRanges::default())
    }

    /// The same in any precision.
    ///
    /// # Errors
    /// When the device has no room, the precision is none that it can compute, or int8 is asked
    /// without the range of a layer.
    pub fn with_ranges(
        network: &Network,
        precision: Precision,
        ranges: &ActivationRanges,
    ) -> Result<Self> {
        let precision = settled_on(precision, network.device())?;
        let numbers = match precision {
            Precision::Int8 => Numbers::Quantized(ranges.clone()),
            _ => Numbers::Plain,
        };
        tch::no_grad(|| Self::build(network, precision, setting_of(network, precision, numbers)?))
    }

    /// The graph in f32, which tells `watch` of every layer's output.
    pub(crate) fn watched(network: &Network, watch: Watch) -> Result<Self> {
        let setting = setting_of(network, Precision::F32, Numbers::Watched(watch))?;
        tch::no_grad(|| Self::build(network, Precision::F32, setting))
    }

    fn build(network: &Network, precision: Precision, setting: Setting) -> Result<Self> {
        let config = network.config().clone();
        let (plan, tensors) = (NetworkPlan::new(&config), network.tensors());
        let memory = network.memory().map(Memory::frozen).transpose()?;
        // Folding pays where there are fewer items than channels.
        let folded = memory.as_ref().filter(|memory| memory.config().items < config.channels());
        let items = folded.map(items_in_f64).transpose()?;
        let decoder = |of, last| {
            let (tensors, items, encoder) = (&tensors, items.as_ref(), &plan.encoder);
            GraphDecoder::new(&DecoderParts { plan: of, tensors, items, encoder, last }, &setting)
        };
        // Nothing that is served can be had of a flow.
        let served = plan.motion.as_ref().filter(|_| config.motion_target != MotionTarget::Flow);
        let motion = served.map(|plan| decoder(plan, Activation::None));
        Ok(Self {
            encoder: encoder(&plan.encoder, &tensors, &setting)?,
            prediction: decoder(&plan.prediction, Activation::Tanh)?,
            motion: motion.transpose()?,
            folds_memory: items.is_some(),
            precision,
            config,
            setting,
            memory,
        })
    }

    /// What the network was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// What convolutions compute in; never `Auto`.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Where it runs.
    pub fn device(&self) -> Device {
        self.setting.device
    }

    /// The memory, where there is one.
    pub fn memory(&self) -> Option<&Memory> {
        self.memory.as_ref()
    }

    /// First stage: the encoder on `[B, 3t, S, S]`, channels last in storage, in any
    /// floating-point kind.
    pub(crate) fn encode(&self, input: &Tensor) -> Result<Encoding> {
        tch::no_grad(|| {
            let [first, second, third, deepest] = &self.encoder;
            let skip1 = first.forward(&input.f_to_kind(self.setting.kind)?)?;
            let skip2 = second.forward(&halve(&skip1)?)?;
            let skip3 = third.forward(&halve(&skip2)?)?;
            let z = deepest.forward(&halve(&skip3)?)?;
            Ok(Encoding { z, skips: [skip1, skip2, skip3] })
        })
    }

    /// Second stage: the frozen memory, read in f32.
    pub(crate) fn recall(&self, z: &Tensor) -> Result<Start> {
        tch::no_grad(|| {
            let Some(memory) = &self.memory else {
                return Ok(Start { tensor: normalized_bottleneck(z)?, memory: None });
            };
            let pass = memory.read(z)?;
            let tensor = if self.folds_memory { self.centred(&pass)? } else { pass.z_hat(z)? };
            Ok(Start { tensor, memory: Some(pass) })
        })
    }

    /// Third stage: the predicted frames `[B, 3, S, S]` in [-1, 1].
    pub(crate) fn predict(&self, start: &Start, skips: &[Tensor; 3]) -> Result<Tensor> {
        tch::no_grad(|| self.prediction.forward(&start.tensor, Some(skips)))
    }

    /// Fourth stage, only for the clips that want it: RGB differences `[B, 3t, S, S]` of rows of
    /// [`Start::tensor`], or nothing without a motion branch that makes them.
    pub(crate) fn generate_difference(&self, start: &Tensor) -> Result<Option<Tensor>> {
        let Some(motion) = &self.motion else { return Ok(None) };
        tch::no_grad(|| {
            let last = motion.forward(start, None)?;
            MotionMaps::of(self.config.motion_target, &last)?.rgb_difference()
        })
    }

    /// `w − 1/N` of `w [B, K, N]` as a picture `[B, N, H, H]`; the storage is channels last as it
    /// is.
    fn centred(&self, pass: &MemoryPass) -> Result<Tensor> {
        let (batch, _, items) = pass.weights.size3()?;
        let side = self.setting.query_side;
        Ok(pass
            .weights
            .f_sub_scalar(1.0 / items as f64)?
            .f_to_kind(self.setting.kind)?
            .f_reshape([batch, side, side, items])?
            .f_permute([0, 3, 1, 2])?)
    }
}

/// The setting of a network on its device.
fn setting_of(network: &Network, precision: Precision, numbers: Numbers) -> Result<Setting> {
    let device = network.device();
    let backend = if device == Device::Cpu { Backend::OneDnn } else { Backend::Device };
    let query_side = network.config().query_side() as i64;
    let kind = kind_of(precision, device)?;
    let factors = match backend {
        Backend::OneDnn => fastest_factors(kind)?,
        Backend::Device => None,
    };
    let up_bytes = matches!(numbers, Numbers::Quantized(_)) && takes_up_bytes()?;
    Ok(Setting { device, backend, kind, factors, query_side, numbers, up_bytes })
}

fn items_in_f64(memory: &Memory) -> Result<Tensor> {
    Ok(memory.items().f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?)
}

fn encoder(
    plan: &[PairPlan; 4],
    tensors: &BTreeMap<String, Tensor>,
    setting: &Setting,
) -> Result<[Level; 4]> {
    let level = |depth: usize| -> Result<Level> {
        let side = (8 * setting.query_side) >> depth;
        let layer = |plan, activation, edges: &Edges<'_>| {
            Layer::new(&Folded::new(plan, tensors)?, activation, side, setting, edges)
        };
        let [first, second] = &plan[depth];
        // The first level sees the frames, the deepest makes what the memory is asked.
        let above = depth.checked_sub(1).map(|above| &plan[above][1]);
        let (relu, deepest) = (Activation::Relu, depth == 3);
        let last = if deepest { Activation::None } else { relu };
        Ok(Level([
            layer(first, relu, &Edges { inputs: above.as_slice(), narrow: true })?,
            layer(second, last, &Edges { inputs: &[first], narrow: !deepest })?,
        ]))
    };
    Ok([level(0)?, level(1)?, level(2)?, level(3)?])
}

impl Level {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [first, second] = &self.0;
        second.forward(&first.forward(x)?)
    }
}

fn halve(x: &Tensor) -> Result<Tensor> {
    if x.kind() == Kind::Uint8 {
        return Ok(halve_bytes(x)?);
    }
    Ok(x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?)
}

#[cfg(test)]
mod tests {
    use protoguard_checkpoint::ModelConfig;

    use super::*;

    fn setting(network: &Network, backend: Backend) -> Setting {
        Setting { backend, ..setting_of(network, Precision::F32, Numbers::Plain).unwrap() }
    }

    /// Where a GPU is at hand `benches/gpu` compares it with the CPU; here its way through the
    /// graph is taken with the CPU's plain kernels.
    #[test]
    fn either_backend_makes_the_same() {
        tch::manual_seed(5);
        let shape = protoguard_core::ClipShape::new(2, 32).unwrap();
        let config = ModelConfig { shape, base_width: 8, ..ModelConfig::default() };
        let network = Network::new(&config, Device::Cpu).unwrap();
        let input = Tensor::randn([3, 32, 32, 6], (Kind::Float, Device::Cpu)).permute([0, 3, 1, 2]);
        let [ours, device] = [Backend::OneDnn, Backend::Device].map(|backend| {
            let setting = setting(&network, backend);
            let graph = InferenceGraph::build(&network, Precision::F32, setting).unwrap();
            let Encoding { z, skips } = graph.encode(&input).unwrap();
            let start = graph.recall(&z).unwrap();
            let difference = graph.generate_difference(&start.tensor).unwrap().unwrap();
            [graph.predict(&start, &skips).unwrap(), difference]
        });
        for (ours, device) in ours.iter().zip(&device) {
            assert_eq!(ours.size(), device.size());
            assert!((ours - device).abs().max().double_value(&[]) < 1e-5);
        }
    }
}
