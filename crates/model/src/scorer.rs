//! The port's implementation: one replica of a checkpoint on one device, used by one thread.

use std::path::PathBuf;
use std::sync::Arc;

use protoguard_checkpoint::{Checkpoint, Golden, Precision};
use protoguard_core::{
    Clip, ClipScore, ModelCard, Outputs, Scorer, ScorerError, ScorerFactory, ScorerInput,
};
use protoguard_kernels::host_memory::empty_cache;
use protoguard_kernels::refused_memory::RefusedMemory;
use protoguard_kernels::transfer::own_stream;
use protoguard_kernels::{Fault, KernelError};
use tch::Device;

use crate::device::DeviceSpec;
use crate::error::ModelError;
use crate::graph::InferenceGraph;
use crate::memory::MemoryPass;
use crate::network::Network;
use crate::precision::auto_on;
use crate::prepared::PreparedSizes;
use crate::score_batch::{score_batch, score_observed};

/// How replicas of a checkpoint are to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScorerOptions {
    /// The name that requests use.
    pub name: String,
    /// Where they run.
    pub device: DeviceSpec,
    /// Threads a forward pass may use on the CPU; libtorch decides where absent. Replicas that
    /// share a processor should share its cores.
    pub threads: Option<usize>,
    /// The folder with `libtorch_cuda.so`, which a GPU needs.
    pub libtorch: Option<PathBuf>,
    /// What convolutions compute in. `Auto` falls back to f32 for a checkpoint that does not
    /// reproduce its golden clip in less.
    pub precision: Precision,
}

/// Makes replicas of one checkpoint.
#[derive(Debug)]
pub struct TchScorerFactory {
    checkpoint: Arc<Checkpoint>,
    options: ScorerOptions,
    card: ModelCard,
    /// Dropped last: a checkpoint lies in more than its replicas.
    _released: ReleaseOnDrop,
}

/// A replica.
#[derive(Debug)]
pub struct TchScorer {
    graph: InferenceGraph,
    /// On a GPU; the CPU is as fast at any size.
    prepared: Option<PreparedSizes>,
    /// Dropped last: what the graph frees goes back to the system.
    _released: ReleaseOnDrop,
}

/// A model that goes leaves its place to the one that came for it: without this a server would
/// stay as large as two of its models after the first reload.
#[derive(Debug)]
struct ReleaseOnDrop;

impl Drop for ReleaseOnDrop {
    fn drop(&mut self) {
        // There is nobody to tell, and nothing that could be done.
        let _ = empty_cache();
    }
}

impl TchScorerFactory {
    /// A factory of replicas of `checkpoint`. Nothing is computed yet, unless `Auto` has to be
    /// settled by the golden clip.
    pub fn new(checkpoint: Arc<Checkpoint>, mut options: ScorerOptions) -> Self {
        options.precision = settle(&checkpoint, &options);
        let content = checkpoint.content();
        let card = ModelCard {
            name: options.name.clone(),
            version: checkpoint.version().to_owned(),
            shape: content.model.shape,
            base_width: content.model.base_width,
            memory_items: content.model.memory.as_ref().map_or(0, |memory| memory.items),
            motion_branch: content.model.motion_branch,
            precision: options.precision.to_string(),
            device: options.device.to_string(),
            frame_interval: content.training.frame_interval,
            training_data: content.training.data.clone(),
            metrics: content.training.metrics.clone(),
            calibrations: content.calibrations.clone(),
        };
        Self { checkpoint, options, card, _released: ReleaseOnDrop }
    }

    /// A replica for the calling thread, proven on the checkpoint's golden clip.
    ///
    /// # Errors
    /// When the device is missing or has no room, or the golden clip scores otherwise than
    /// recorded.
    pub fn build_scorer(&self) -> Result<TchScorer, ModelError> {
        proven(&self.checkpoint, &self.options)
    }
}

/// A replica that scores the golden clip as recorded.
fn proven(checkpoint: &Checkpoint, options: &ScorerOptions) -> Result<TchScorer, ModelError> {
    let device = options.device.open(options.libtorch.as_deref())?;
    own_stream(device)?;
    if let Some(threads) = options.threads {
        set_threads_of_this_thread(threads);
    }
    let network = Network::from_checkpoint(checkpoint, device)?;
    let content = checkpoint.content();
    let (precision, ranges) = (options.precision, &content.activation_ranges);
    let scorer = TchScorer::new(InferenceGraph::with_ranges(&network, precision, ranges)?);
    if let Some(golden) = &content.golden {
        scorer.prove(golden)?;
    }
    Ok(scorer)
}

/// The precision that replicas will have: `Auto` only where the processor could not be tried.
fn settle(checkpoint: &Checkpoint, options: &ScorerOptions) -> Precision {
    let Ok(precision) = auto_on(options.precision, options.device.torch()) else {
        // Told when a replica is built, which asks the same.
        return options.precision;
    };
    if options.precision != Precision::Auto || precision == Precision::F32 {
        return precision;
    }
    let tried = ScorerOptions { precision, ..options.clone() };
    match proven(checkpoint, &tried) {
        Err(ModelError::Checkpoint(_)) => Precision::F32,
        // Any other fault is not the precision's, and is told when a replica is built.
        _ => precision,
    }
}

impl ScorerFactory for TchScorerFactory {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn build(&self) -> Result<Box<dyn Scorer>, ScorerError> {
        let device = self.options.device.torch();
        let before = RefusedMemory::so_far(device);
        match self.build_scorer() {
            Ok(scorer) => Ok(Box::new(scorer)),
            Err(error) => Err(match classify(&error, device, before) {
                ScorerError::Batch { .. } => ScorerError::Load { reason: error.to_string() },
                other => other,
            }),
        }
    }
}

impl TchScorer {
    /// A replica of a graph that is at hand, such as that of a network just trained.
    pub fn new(graph: InferenceGraph) -> Self {
        let prepared = graph.device().is_cuda().then(PreparedSizes::default);
        Self { graph, prepared, _released: ReleaseOnDrop }
    }

    /// What it runs.
    pub fn graph(&self) -> &InferenceGraph {
        &self.graph
    }

    /// Scores a batch and shows `observe` what was read from the memory, where there is one.
    ///
    /// # Errors
    /// As [`Scorer::score`], and what `observe` fails with.
    pub fn score_observed(
        &self,
        batch: &[ScorerInput],
        observe: &mut dyn FnMut(&MemoryPass) -> crate::error::Result<()>,
    ) -> Result<Vec<ClipScore>, ScorerError> {
        let device = self.graph.device();
        let before = RefusedMemory::so_far(device);
        score_observed(&self.graph, batch, observe)
            .map_err(|error| classify(&error, device, before))
    }

    fn prove(&self, golden: &Golden) -> Result<(), ModelError> {
        let input = ScorerInput { clip: golden.clip().clone(), outputs: Outputs::NONE };
        for score in score_batch(&self.graph, &[input])? {
            golden.check(&score, self.graph.precision())?;
        }
        Ok(())
    }
}

impl Scorer for TchScorer {
    fn score(&mut self, batch: &[ScorerInput]) -> Result<Vec<ClipScore>, ScorerError> {
        let mut unobserved = |_: &MemoryPass| Ok(());
        let Some(prepared) = &mut self.prepared else {
            return self.score_observed(batch, &mut unobserved);
        };
        let filled = prepared.fill(batch);
        let mut found = self.score_observed(&filled, &mut unobserved);
        match (&mut found, &mut self.prepared) {
            (Ok(scores), _) => scores.truncate(batch.len()),
            (Err(_), Some(prepared)) => prepared.failed(filled.len()),
            (Err(_), None) => {}
        }
        found
    }

    fn release_memory(&mut self) {
        // A device that cannot do this cannot compute either, and the next batch says so.
        let _ = empty_cache();
    }
}

/// Records what a graph makes of a clip, for its checkpoint. The graph should compute in f32: a
/// replica of less precision is then held to the true scores.
///
/// # Errors
/// When the clip has no target or another shape, or the forward pass fails.
pub fn record_golden(graph: &InferenceGraph, clip: Clip) -> Result<Golden, ModelError> {
    let input = ScorerInput { clip: clip.clone(), outputs: Outputs::NONE };
    let scores = score_batch(graph, &[input])?;
    let frames = clip.shape().past_frames();
    scores.first().and_then(|score| Golden::new(clip, score)).ok_or_else(|| ModelError::Batch {
        field: "number of frames",
        index: 0,
        found: frames.to_string(),
        expected: (frames + 1).to_string(),
    })
}

/// libtorch keeps the number by thread, and sets it to the process's on a thread's first use:
/// the query comes first so that this does not happen after the setting.
fn set_threads_of_this_thread(threads: usize) {
    let _ = tch::get_num_threads();
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
}

/// What the service may do about an error of a device that had refused so much memory `before`.
fn classify(error: &ModelError, device: Device, before: RefusedMemory) -> ScorerError {
    let reason = error.to_string();
    let fault = match error {
        ModelError::Kernel(KernelError::Native { fault, .. }) => *fault,
        // Of tch's calls only the words are known.
        ModelError::Kernel(KernelError::Torch { .. }) => before.fault_since(device),
        _ => Fault::Refused,
    };
    match fault {
        Fault::OutOfMemory => return ScorerError::OutOfMemory { reason },
        // The context answers nothing but errors from here on.
        Fault::DeviceLost => return ScorerError::DeviceLost { reason },
        Fault::Refused => {}
    }
    match error {
        ModelError::Device(_)
        | ModelError::Checkpoint(_)
        | ModelError::Config(_)
        | ModelError::Precision(_)
        | ModelError::Kernel(KernelError::Limit(_)) => ScorerError::Load { reason },
        _ => ScorerError::Batch { reason },
    }
}

#[cfg(test)]
mod tests {
    use protoguard_kernels::host_memory::keep_host_memory;
    use tch::{Kind, Tensor};

    use super::*;

    #[test]
    fn errors_are_classified_by_what_can_be_done() {
        keep_host_memory().unwrap();
        let before = RefusedMemory::so_far(Device::Cpu);
        let of = |error: ModelError| classify(&error, Device::Cpu, before);
        let native = |fault| of(KernelError::Native { fault, reason: String::new() }.into());
        assert!(matches!(native(Fault::OutOfMemory), ScorerError::OutOfMemory { .. }));
        assert!(matches!(native(Fault::DeviceLost), ScorerError::DeviceLost { .. }));
        assert!(matches!(native(Fault::Refused), ScorerError::Batch { .. }));
        // Words decide nothing.
        let words = || KernelError::Torch { reason: "CUDA error: out of memory".to_owned() };
        assert!(matches!(of(words().into()), ScorerError::Batch { .. }));
        let refused = Tensor::f_empty([1 << 60], (Kind::Uint8, Device::Cpu)).unwrap_err();
        assert!(matches!(of(refused.into()), ScorerError::OutOfMemory { .. }));
    }
}
