//! Measuring how large activations become, for int8.

use protoguard_checkpoint::ActivationRanges;
use protoguard_core::{Clip, Outputs, ScorerInput};

use crate::error::Result;
use crate::graph::InferenceGraph;
use crate::graph::watch::Watch;
use crate::network::Network;
use crate::score_batch::score_batch;

/// Runs the network in f32 on clips of normal video and notes the largest activations.
///
/// # Errors
/// When a clip does not go with the network, or libtorch refuses.
pub fn measure_ranges(network: &Network, clips: &[Clip]) -> Result<ActivationRanges> {
    let watch = Watch::default();
    let graph = InferenceGraph::watched(network, watch.clone())?;
    for clip in clips {
        score_batch(&graph, &[ScorerInput { clip: clip.clone(), outputs: Outputs::ALL }])?;
    }
    watch.ranges()
}
