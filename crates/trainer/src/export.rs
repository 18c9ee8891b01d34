//! The `export` command: a checkpoint as it is served, without what only training needs.

use anyhow::Context;
use protoguard_checkpoint::{Array, Checkpoint, CheckpointContent, Dtype, Precision};
use protoguard_core::{Outputs, Scorer, ScorerInput};
use protoguard_model::{InferenceGraph, Network, TchScorer, from_array, record_golden};
use tch::{Device, Kind};

use crate::cli::ExportArgs;
use crate::output;

/// Writes the checkpoint without optimiser state and, as asked, with 16-bit weights or without
/// the motion branch, after proving that it still scores its golden clip as before.
///
/// # Errors
/// When the checkpoint cannot be read, the result scores otherwise, or cannot be written.
pub fn run(args: &ExportArgs) -> anyhow::Result<()> {
    output::check(&args.out, args.overwrite)?;
    let original = Checkpoint::read(&args.checkpoint)?;
    let exported = export(original.clone(), args.f16, args.without_motion)?;
    exported.write(&args.out)?;
    tracing::info!(
        version = exported.version(),
        from = original.version(),
        "wrote {}",
        args.out.display()
    );
    Ok(())
}

/// The checkpoint as it is served.
///
/// Half-precision weights are the matrices of convolutions; what is added to a result or divides
/// it stays f32, and so do the memory items.
///
/// # Errors
/// When the golden clip scores otherwise than the tolerances allow.
pub fn export(
    checkpoint: Checkpoint,
    f16: bool,
    without_motion: bool,
) -> anyhow::Result<Checkpoint> {
    let mut content = checkpoint.into_content();
    content.optimizer.clear();
    if without_motion {
        content.model.motion_branch = false;
        content.tensors.retain(|name, _| !name.starts_with("motion."));
    }
    if f16 {
        for (name, array) in &mut content.tensors {
            if is_convolution(name, array) {
                let half = from_array(array)?.f_to_kind(Kind::Half)?;
                let bytes = to_bytes(&half)?;
                *array = Array::new(Dtype::F16, array.shape().to_vec(), bytes)
                    .context("as many halves as there were floats")?;
            }
        }
    }
    prove(content)
}

fn is_convolution(name: &str, array: &Array) -> bool {
    name.ends_with(".weight") && array.shape().len() == 4 && array.dtype() == Dtype::F32
}

fn to_bytes(half: &tch::Tensor) -> anyhow::Result<Vec<u8>> {
    let half = half.f_contiguous()?;
    let mut bytes = vec![0; 2 * half.numel()];
    half.f_copy_data_u8(&mut bytes, half.numel())?;
    Ok(bytes)
}

/// Scores the golden clip with what a server would load, and records the new scores.
fn prove(mut content: CheckpointContent) -> anyhow::Result<Checkpoint> {
    let Some(golden) = content.golden.take() else {
        return Ok(Checkpoint::new(content)?);
    };
    let unproven = Checkpoint::new(content)?;
    let network = Network::from_checkpoint(&unproven, Device::Cpu)?;
    let mut scorer = TchScorer::new(InferenceGraph::new(&network, Precision::F32)?);
    let recorded = record_golden(scorer.graph(), golden.clip().clone())?;
    let input = ScorerInput { clip: golden.clip().clone(), outputs: Outputs::NONE };
    for score in scorer.score(&[input])? {
        golden
            .check(&score, Precision::F32)
            .context("the exported model does not score its golden clip")?;
    }
    let content = CheckpointContent { golden: Some(recorded), ..unproven.into_content() };
    Ok(Checkpoint::new(content)?)
}

/// Bytes of the weights as they are stored.
pub(crate) fn weight_bytes(content: &CheckpointContent) -> usize {
    content.tensors.values().map(|array| array.bytes().len()).sum()
}
