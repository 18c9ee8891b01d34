//! The `evaluate` command: a checkpoint against labelled video, beside the copy-frame baseline.

mod memory_use;
mod normalised;
mod report;
mod table;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use protoguard_core::ClipShape;
use protoguard_core::normalise::Grouping;
use protoguard_data::{DecodedVideo, Labels, dataset};
use protoguard_model::{Checkpoint, ScorerOptions, TchScorerFactory};
use serde::Serialize;
use sha2::{Digest, Sha256};

pub use memory_use::MemoryObserver;
pub use normalised::{Normalised, Signal, normalise};
pub use report::{
    EvalReport, Measured, MemoryUse, SignalMetrics, Subject, ThresholdRates, VideoMetrics,
};
pub use table::Table;

use crate::cli::EvaluateArgs;
use crate::scoring::{ScoredVideo, ScoringOptions, score_video};
use crate::train::{decode, name_of};
use crate::{output, progress};

/// Measures a checkpoint, prints the table and writes what was asked for.
///
/// # Errors
/// When the checkpoint, the data or its labels cannot be read, the labels are of one class only,
/// or an output cannot be written.
pub fn run(args: &EvaluateArgs) -> anyhow::Result<()> {
    for path in [&args.out, &args.frames_out].into_iter().flatten() {
        output::check(path, args.overwrite)?;
    }
    let checkpoint = Arc::new(Checkpoint::read(&args.checkpoint)?);
    let shape = checkpoint.content().model.shape;
    let test = TestData::read(&args.data, args.labels.as_deref(), shape)?;
    let scorer =
        TchScorerFactory::new(Arc::clone(&checkpoint), scorer_options(args)?).build_scorer()?;
    let mut observed = MemoryObserver::new(scorer);
    let videos = score_all(&mut observed, &test.videos, shape, args.batch_size)?;
    let labels: Vec<Vec<bool>> =
        test.labels.videos().iter().map(|labels| labels[shape.past_frames()..].to_vec()).collect();
    let measured = Measured {
        videos: &videos,
        labels: &labels,
        calibrations: &checkpoint.content().calibrations,
    };
    let subject = test.subject(checkpoint.version(), &labels)?;
    let report = EvalReport::new(&measured, subject, observed.read()?)?;
    #[allow(clippy::print_stdout, reason = "the table is what the command is for")]
    {
        print!("{}", Table(&report));
    }
    if let Some(path) = &args.out {
        let json = serde_json::to_vec_pretty(&report)?;
        output::write(path, &json).with_context(|| format!("writing {path:?}"))?;
    }
    if let Some(path) = &args.frames_out {
        let lines = frame_lines(&measured)?;
        output::write(path, lines.as_bytes()).with_context(|| format!("writing {path:?}"))?;
    }
    Ok(())
}

fn scorer_options(args: &EvaluateArgs) -> anyhow::Result<ScorerOptions> {
    Ok(ScorerOptions {
        name: name_of(&args.checkpoint),
        device: args.device.parse()?,
        threads: (args.threads > 0).then_some(args.threads),
        libtorch: args.libtorch.clone(),
        precision: args.precision,
    })
}

/// Labelled test video, decoded.
struct TestData {
    name: String,
    labels: Labels,
    labels_path: PathBuf,
    videos: Vec<DecodedVideo>,
}

impl TestData {
    fn read(root: &Path, labels: Option<&Path>, shape: ClipShape) -> anyhow::Result<Self> {
        let videos = dataset::testing_videos(root)?;
        let labels_path = labels.map_or_else(|| Labels::find(root), |path| Ok(path.to_owned()))?;
        let labels = Labels::read(&labels_path, &videos)?;
        let videos = decode(&videos, shape)?;
        Ok(Self { name: name_of(root), labels, labels_path, videos })
    }

    fn subject(&self, model_version: &str, scored: &[Vec<bool>]) -> anyhow::Result<Subject> {
        let bytes = std::fs::read(&self.labels_path)
            .with_context(|| format!("reading {:?}", self.labels_path))?;
        let hex = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Subject {
            model_version: model_version.to_owned(),
            data: self.name.clone(),
            labels_sha256: hex,
            videos: self.videos.len(),
            frames: self.labels.frames(),
            frames_scored: scored.iter().map(Vec::len).sum(),
            abnormal: scored.iter().flatten().filter(|&&abnormal| abnormal).count(),
        })
    }
}

fn score_all(
    scorer: &mut MemoryObserver,
    videos: &[DecodedVideo],
    shape: ClipShape,
    batch_size: usize,
) -> anyhow::Result<Vec<ScoredVideo>> {
    let clips: usize = videos.iter().map(|video| video.clip_count(shape)).sum();
    let bar = progress::bar(clips as u64, "scoring");
    let mut scored = Vec::with_capacity(videos.len());
    let mut before = 0;
    for video in videos {
        let progress = |done: usize| bar.set_position((before + done) as u64);
        let options = ScoringOptions { batch_size, progress: &progress };
        scored.push(score_video(scorer, video, shape, &options)?);
        before += video.clip_count(shape);
    }
    bar.finish_and_clear();
    Ok(scored)
}

/// One scored frame, a line of `--frames-out`.
#[derive(Serialize)]
struct FrameLine<'a> {
    video: &'a str,
    /// Counted from 0.
    frame: usize,
    psnr_db: f64,
    feature_distance: Option<f64>,
    /// Calibrated, where the checkpoint has a calibration.
    regularity: Option<f64>,
    copy_frame_psnr_db: f64,
    abnormal: bool,
}

fn frame_lines(measured: &Measured<'_>) -> anyhow::Result<String> {
    let calibrated =
        normalise(measured.videos, Grouping::Calibrated, Signal::Combined, measured.calibrations);
    let mut lines = String::new();
    for (index, video) in measured.videos.iter().enumerate() {
        for (position, score) in video.scores.iter().enumerate() {
            let anomaly = calibrated.as_ref().map(|found| found.videos[index][position]);
            lines += &serde_json::to_string(&FrameLine {
                video: &video.name,
                frame: video.first_frame + position,
                psnr_db: score.psnr.0,
                feature_distance: score.feature_distance.map(|distance| distance.0),
                regularity: anomaly.map(|anomaly| 1.0 - anomaly),
                copy_frame_psnr_db: video.copy_frame[position].0,
                abnormal: measured.labels[index][position],
            })?;
            lines.push('\n');
        }
    }
    Ok(lines)
}
