//! The `validate` command: a checkpoint against anomalies that are put into normal video of its own
//! camera. Settings are chosen on it; a test half is not touched, and no label is needed.

mod inserted;
mod report;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use anyhow::Context;
use protoguard_checkpoint::{Checkpoint, HeldOut, Precision, TrainingRecord};
use protoguard_datasets::{DecodedVideo, Half};
use protoguard_model::TchScorerFactory;

pub use inserted::{InsertedSet, InsertedVideo};
pub use report::{Found, ScoreMetrics, ValidationReport};
pub use table::ValidationTable;

use crate::cli::ValidateArgs;
use crate::evaluate::{Beside, Measured, frame_lines};
use crate::scoring::{ScoringOptions, score_videos};
use crate::source::{Source, wanted_by};
use crate::zones::zones_of;
use crate::{output, progress};

/// Puts anomalies in, scores, and prints a table and one line of JSON.
///
/// # Errors
/// When the checkpoint or the data cannot be read, nothing can be put in, or the forward pass fails.
pub fn run(args: &ValidateArgs) -> anyhow::Result<()> {
    for path in [&args.out, &args.frames_out].into_iter().flatten() {
        output::check(path, args.overwrite)?;
    }
    let checkpoint = Arc::new(Checkpoint::read(&args.checkpoint)?);
    let content = checkpoint.content();
    let shape = content.model.shape;
    let source = Source::open(&args.data, &args.source)?;
    let videos =
        source.load(&source.videos(Half::Training, wanted_by(&content.training))?, shape)?;
    let normal = if args.all { videos } else { held_out(&videos, &content.training)? };
    let set = InsertedSet::make(&normal, args.seed)?;
    let options = args.scorer.options(&args.checkpoint, Precision::F32);
    let mut scorer = TchScorerFactory::new(Arc::clone(&checkpoint), options).build_scorer()?;
    let inserted: Vec<DecodedVideo> = set.videos.iter().map(|made| made.video.clone()).collect();
    let options = ScoringOptions {
        batch_size: args.scorer.batch_size,
        keep_maps: false,
        zones: &|scene| zones_of(&content.calibrations, scene),
        bar: progress::bar(0, "scoring"),
        interrupt: None,
    };
    let scored = score_videos(&mut scorer, &inserted, shape, &options)?;
    let measured = Measured {
        videos: &scored,
        labels: &set.scored_labels(shape),
        calibrations: &content.calibrations,
        beside: &Beside::default(),
    };
    let mut report = ValidationReport::new(&measured, &set)?;
    report.data = source.name();
    report.model = checkpoint.version().to_owned();
    report.seed = args.seed;
    if let Some(path) = &args.out {
        output::write(path, &serde_json::to_vec_pretty(&report)?)?;
    }
    if let Some(path) = &args.frames_out {
        output::write(path, frame_lines(&measured)?.as_bytes())?;
    }
    #[allow(clippy::print_stdout, reason = "the table and the line are what the command is for")]
    {
        print!("{}", ValidationTable(&report));
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(())
}

/// What the checkpoint's training held out of the same videos.
fn held_out(
    videos: &[DecodedVideo],
    training: &TrainingRecord,
) -> anyhow::Result<Vec<DecodedVideo>> {
    anyhow::ensure!(
        !training.held_out.is_empty(),
        "the checkpoint does not say which video its training held out; pass --all to use all of --data, of which weights must know nothing"
    );
    let part = |held_out: &HeldOut| {
        let HeldOut { video: name, scene, first_frame, frames } = held_out;
        let video = videos.iter().find(|video| video.name == *name && video.scene == *scene);
        let range = *first_frame..first_frame.saturating_add(*frames);
        video.filter(|video| range.end <= video.len()).map(|video| video.part(range.clone())).with_context(
            || format!("--data has no frames {range:?} of video {name:?}, which the training held out; the folder that it was trained on is expected"),
        )
    };
    training.held_out.iter().map(part).collect()
}
