//! The `evaluate` command: a checkpoint against labelled video, beside baselines without a model.

mod chosen;
mod close_up;
mod frames;
mod html;
mod line;
mod live;
mod measured;
mod memory_use;
mod normalised;
mod report;
mod surprises;
mod table;
mod test_data;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use protoguard_checkpoint::Checkpoint;
use protoguard_model::TchScorerFactory;

pub use chosen::{Chosen, ChosenFrame};
pub use close_up::{CloseUp, CloseUps};
pub(crate) use frames::frame_lines;
pub use html::Page;
pub use line::SummaryLine;
pub use live::{
    Alarm, Candidate, FALSE_ALARM_RATE, LiveReport, Margins, Promise, Regions, RowRates, Score,
    ScoreRow, ThresholdOrigin,
};
pub use measured::{Beside, Measured};
pub use memory_use::MemoryObserver;
pub(crate) use normalised::calibration_of;
pub use normalised::{Normalised, Signal, normalise};
pub use report::{
    EvalReport, MemoryUse, SignalMetrics, Speed, Subject, ThresholdRates, VideoMetrics,
};
pub use surprises::Surprises;
pub use table::Table;

use test_data::{ModelInput, TestData, TruthPaths};

use crate::cli::EvaluateArgs;
use crate::scoring::{ScoringOptions, score_videos};
use crate::source::Source;
use crate::zones::zones_of;
use crate::{output, progress};

/// Measures a checkpoint, prints the table and writes what was asked for.
///
/// # Errors
/// When the checkpoint, the data or its labels cannot be read, the labels are of one class only,
/// or an output cannot be written.
pub fn run(args: &EvaluateArgs) -> anyhow::Result<()> {
    for path in [&args.out, &args.frames_out, &args.report].into_iter().flatten() {
        output::check(path, args.overwrite)?;
    }
    // 1. What is measured: the checkpoint, and labelled video.
    let checkpoint = Arc::new(Checkpoint::read(&args.checkpoint)?);
    let content = checkpoint.content();
    let shape = content.model.shape;
    let source = Source::open(&args.data, &args.source)?;
    let started = Instant::now();
    let truth = TruthPaths { labels: args.labels.as_deref(), masks: args.masks.as_deref() };
    let input = ModelInput { shape, training: &content.training };
    let test = TestData::read(&source, truth, &input)?;
    let loading_seconds = started.elapsed().as_secs_f64();

    // 2. Scores, and the numbers that follow from them.
    let options = args.scorer.options(&args.checkpoint, args.precision);
    let scorer = TchScorerFactory::new(Arc::clone(&checkpoint), options).build_scorer()?;
    let mut observed = MemoryObserver::new(scorer);
    let started = Instant::now();
    let options = ScoringOptions {
        batch_size: args.scorer.batch_size,
        keep_maps: test.has_masks(),
        zones: &|scene| zones_of(&content.calibrations, scene),
        bar: progress::bar(0, "scoring"),
        interrupt: None,
    };
    let videos = score_videos(&mut observed, &test.videos, shape, &options)?;
    let scoring_seconds = started.elapsed().as_secs_f64();
    let labels = test.scored_labels(shape);
    let beside = Beside {
        masks: test.scored_masks(shape)?,
        frames_per_second: test.frame_interval().map(|interval| 1e3 / interval.milliseconds()),
    };
    let measured = Measured {
        videos: &videos,
        labels: &labels,
        calibrations: &content.calibrations,
        beside: &beside,
    };
    let subject = test.subject(checkpoint.version(), &labels)?;
    let clips_per_second = subject.frames_scored as f64 / scoring_seconds.max(f64::MIN_POSITIVE);
    let mut report = EvalReport::new(&measured, subject, observed.read()?)?;
    report.speed = Some(Speed {
        device: args.scorer.device.to_string(),
        batch_size: args.scorer.batch_size,
        loading_seconds,
        scoring_seconds,
        clips_per_second,
    });

    // 3. What was asked for.
    if let Some(path) = &args.out {
        output::write(path, &serde_json::to_vec_pretty(&report)?)?;
    }
    if let Some(path) = &args.frames_out {
        output::write(path, frame_lines(&measured)?.as_bytes())?;
    }
    if let Some(path) = &args.report {
        let chosen = Chosen::of(&measured);
        let close_ups = CloseUps::take(&mut observed, &test.videos, shape, &chosen)?;
        let training = &content.training;
        let page = Page { report: &report, measured: &measured, training, close_ups: &close_ups };
        output::write(path, page.render().as_bytes())?;
    }
    #[allow(clippy::print_stdout, reason = "the table and the line are what the command is for")]
    {
        print!("{}", Table(&report));
        println!("{}", serde_json::to_string(&SummaryLine::new(&report, &content.training))?);
    }
    Ok(())
}
