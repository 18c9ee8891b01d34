//! The `step` command: how long a training step takes, on scenes that are drawn for it.
//!
//! `cargo xtask bench training` runs it beside the same step in PyTorch. Both start from the same
//! weights and clips, which this command writes into a case, and take the same first steps, whose
//! losses must agree before any time counts.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use indicatif::ProgressBar;
use protoguard_checkpoint::{Array, Dtype, LossConfig, ModelConfig, Precision};
use protoguard_core::{Clip, ClipShape, Outputs, Scorer, ScorerInput};
use protoguard_datasets::synth::write_dataset;
use protoguard_datasets::{CacheChoice, ClipBatch, ClipLoader, Half, LoaderConfig};
use protoguard_frames::pace::Wanted;
use protoguard_frames::scenes::SynthConfig;
use protoguard_kernels::settings::allow_tf32;
use protoguard_model::{HealthMeter, InferenceGraph, Network, StepLosses, TchScorer, precision};
use safetensors::tensor::TensorView;
use serde::Serialize;

use crate::cli::StepArgs;
use crate::log::resident_mib;
use crate::scoring::{ScoringOptions, score_videos};
use crate::source::{Source, SourceArgs};
use crate::train::{Learner, set_threads};

const LEARNING_RATE: f64 = 2e-4;
const SEED: i64 = 17;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Total, prediction, difference and discriminative loss of every checked step.
    pub losses: Vec<[f64; 4]>,
    /// Seconds of every timed step, waiting for the loader included.
    pub seconds: Vec<f64>,
    /// Seconds of those that were spent waiting for the loader.
    pub waiting: Vec<f64>,
    /// The most memory that was resident at once, in MiB.
    pub peak_mib: f64,
    /// Growth of resident memory over the timed steps, in MiB for 1000 steps; absent for few.
    pub growth_mib_per_1000_steps: Option<f64>,
    /// Clips a second of `evaluate`'s loop over those of the forward pass alone.
    pub evaluate_vs_bare: Option<f64>,
    /// What the device can compute.
    pub precisions: Vec<Precision>,
}

/// Measures and prints one line of JSON.
///
/// # Errors
/// When libtorch refuses or a file cannot be written.
pub fn run(args: &StepArgs) -> anyhow::Result<()> {
    let device = args.device.open(args.libtorch.as_deref())?;
    set_threads(args.threads);
    allow_tf32(true)?;
    let shape = ClipShape::new(args.past_frames, args.side)?;
    let model = ModelConfig { shape, base_width: args.base_width, ..ModelConfig::default() };
    let folder = tempfile::tempdir()?;
    let source = draw(folder.path())?;
    // The first pass fills the frame cache; what is measured is a warm one.
    source.load(&source.videos(Half::Training, Wanted::AsTheyAre)?, shape)?;
    let videos = source.load(&source.videos(Half::Training, Wanted::AsTheyAre)?, shape)?;
    let config = LoaderConfig {
        shape,
        batch_size: args.batch_size,
        seed: SEED as u64,
        prefetch: 4,
        sped_up: false,
    };
    let loader = ClipLoader::new(videos, config);

    tch::manual_seed(SEED);
    let mut network = Network::new(&model, device)?;
    network.set_training_precision(args.precision)?;
    let first = loader.epoch(0).next().context("too few drawn clips for a batch")??;
    if let Some(path) = &args.case {
        write_case(path, &network, &first.clips)?;
    }
    let mut learner = Learner::new(network, LossConfig::default());
    let mut measured = steps(args, &mut learner, (&loader, first))?;
    if args.evaluate {
        let (network, _) = learner.into_parts();
        let scorer = TchScorer::new(InferenceGraph::new(&network, Precision::F32)?);
        measured.evaluate_vs_bare = Some(evaluate_vs_bare(scorer, &source, shape)?);
    }
    #[allow(clippy::print_stdout, reason = "what the caller asked for")]
    {
        println!("{}", serde_json::to_string(&measured)?);
    }
    Ok(())
}

fn draw(folder: &Path) -> anyhow::Result<Source> {
    let data = folder.join("scenes");
    let scenes = SynthConfig {
        seed: SEED as u64,
        training_videos: 4,
        testing_videos: 1,
        frames_per_video: 100,
        height: 240,
        width: 320,
    };
    write_dataset(&scenes, &data)?;
    let cache = Some(CacheChoice::Folder(folder.join("cache")));
    Ok(Source::open(&data, &SourceArgs { cache, cache_gib: 8, ..SourceArgs::default() })?)
}

fn steps(
    args: &StepArgs,
    learner: &mut Learner,
    (loader, first): (&ClipLoader, ClipBatch),
) -> anyhow::Result<Measured> {
    let mut health = HealthMeter::new();
    let checked = std::slice::from_ref(&first);
    let mut losses = Vec::new();
    for _ in 0..args.check {
        losses.push(row(&learner.step(checked, LEARNING_RATE, &mut health)?));
    }
    let (mut seconds, mut waiting, mut resident) = (Vec::new(), Vec::new(), Vec::new());
    let mut epochs = 0..;
    let mut batches = epochs.by_ref().flat_map(|epoch| loader.epoch(epoch));
    for _ in 0..args.steps {
        let started = Instant::now();
        let batch = batches.next().context("the loader ended")??;
        waiting.push(started.elapsed().as_secs_f64());
        learner.step(&[batch], LEARNING_RATE, &mut health)?;
        seconds.push(started.elapsed().as_secs_f64());
        resident.push(resident_mib());
    }
    Ok(Measured {
        losses,
        seconds,
        waiting,
        peak_mib: peak_mib(),
        growth_mib_per_1000_steps: slope(&resident).map(|slope| 1000.0 * slope),
        evaluate_vs_bare: None,
        precisions: precision::all_on(args.device),
    })
}

fn row(losses: &StepLosses) -> [f64; 4] {
    let term = |loss: Option<f64>| loss.unwrap_or(0.0);
    [losses.total, losses.prediction, term(losses.difference), term(losses.discriminative)]
}

/// The same clips by the loop of `evaluate` and by the forward pass alone, twice in turn.
fn evaluate_vs_bare(
    mut scorer: TchScorer,
    source: &Source,
    shape: ClipShape,
) -> anyhow::Result<f64> {
    const BATCH: usize = 8;
    let videos = source.load(&source.videos(Half::Testing, Wanted::AsTheyAre)?, shape)?;
    let clips: usize = videos.iter().map(|video| video.clip_count(shape)).sum();
    let input = |at| -> anyhow::Result<ScorerInput> {
        let clip = videos[0].clip_at(shape, at)?.context("a drawn clip")?;
        Ok(ScorerInput { clip, outputs: Outputs::NONE })
    };
    let batch: Vec<ScorerInput> = (0..BATCH).map(input).collect::<anyhow::Result<_>>()?;
    scorer.score(&batch)?;
    let (mut bare, mut evaluate) = (0.0, 0.0);
    for _ in 0..2 {
        let started = Instant::now();
        for done in (0..clips).step_by(BATCH) {
            scorer.score(&batch[..BATCH.min(clips - done)])?;
        }
        bare += started.elapsed().as_secs_f64();
        let started = Instant::now();
        let options = ScoringOptions {
            batch_size: BATCH,
            keep_maps: false,
            zones: &|_| None,
            bar: ProgressBar::hidden(),
            interrupt: None,
        };
        score_videos(&mut scorer, &videos, shape, &options)?;
        evaluate += started.elapsed().as_secs_f64();
    }
    Ok(bare / evaluate)
}

/// Weights by their paths and the clips `[B, t + 1, S, S, 3]`, for another implementation.
fn write_case(path: &Path, network: &Network, clips: &[Clip]) -> anyhow::Result<()> {
    let config = network.config();
    let memory = config.memory.as_ref().context("a network with memory")?;
    let side = config.shape.side();
    let pixels = clips.iter().flat_map(Clip::frames).flat_map(|frame| frame.pixels()).copied();
    let size = vec![clips.len(), config.shape.frames(), side, side, 3];
    let mut arrays: BTreeMap<String, Array> = network.to_arrays()?;
    let clips = Array::new(Dtype::U8, size, pixels.collect()).context("every pixel of a clip")?;
    arrays.insert("clips".to_owned(), clips);
    let case = serde_json::json!({
        "base_width": config.base_width,
        "memory_items": memory.items,
        "temperature": memory.temperature,
        "update_rate": memory.update_rate,
        "learning_rate": LEARNING_RATE,
    });
    let views = arrays.iter().map(|(name, array)| Ok((name.as_str(), view(array)?)));
    let views = views.collect::<anyhow::Result<Vec<_>>>()?;
    let metadata = HashMap::from([("case".to_owned(), case.to_string())]);
    fs::write(path, safetensors::serialize(views, Some(metadata))?)
        .with_context(|| format!("writing {path:?}"))
}

fn view(array: &Array) -> anyhow::Result<TensorView<'_>> {
    let dtype = match array.dtype() {
        Dtype::U8 => safetensors::Dtype::U8,
        _ => safetensors::Dtype::F32,
    };
    Ok(TensorView::new(dtype, array.shape().to_vec(), array.bytes())?)
}

fn peak_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Least squares over the second half, when the allocator has seen every size; nothing for few.
fn slope(values: &[f64]) -> Option<f64> {
    let values = &values[values.len() / 2..];
    if values.len() < 10 {
        return None;
    }
    let count = values.len() as f64;
    let (mean_x, mean_y) = ((count - 1.0) / 2.0, values.iter().sum::<f64>() / count);
    let (mut product, mut square) = (0.0, 0.0);
    for (x, y) in values.iter().enumerate() {
        let x = x as f64 - mean_x;
        product += x * (y - mean_y);
        square += x * x;
    }
    Some(product / square)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slope_is_of_the_second_half() {
        let values: Vec<f64> =
            (0..40).map(|x| if x < 20 { 0.0 } else { 3.0 * f64::from(x) }).collect();
        assert!((slope(&values).unwrap() - 3.0).abs() < 1e-9);
        assert_eq!(slope(&values[..9]), None);
    }
}
