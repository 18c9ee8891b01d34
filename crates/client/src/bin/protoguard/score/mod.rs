//! `protoguard score`: video in, anomaly scores out.

pub(crate) mod clips;
mod pipeline;
mod record;
mod smoothing;
pub(crate) mod source;
mod summary;
pub(crate) mod table;
mod worst;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use protoguard_client::Client;
use protoguard_core::{ClipShape, Detector, FrameInterval};
use protoguard_frames::labels::Labels;
use protoguard_frames::pace::{Clock, Wanted};
use protoguard_proto::{card_from_wire, v1};
use serde::Serialize;

use crate::arguments::{Format, ScoreArguments};
use crate::output::Output;
use crate::picture::{curve, encode};
use clips::Packing;
use record::FrameRecord;
use smoothing::Smoothing;
use source::Source;
use summary::{ServedScore, Summary};
use worst::WorstFrames;

/// Scores everything, writes the results, then the pictures.
pub(crate) async fn run(arguments: ScoreArguments) -> anyhow::Result<ExitCode> {
    // 1. What can be wrong with the arguments is found before anything is sent.
    let sources = source::discover(&arguments.paths)?;
    let mut output = Output::open(arguments.output.as_deref())?;
    let picture = arguments.picture.as_deref().map(|path| Output::open(Some(path))).transpose()?;
    let client = Client::connect(&arguments.server.address, arguments.server.options()).await?;
    let model = client.model(&arguments.model).await?;
    let card = card_from_wire(model.clone())?;
    let shape = card.shape;
    let scene = Some(arguments.scene.as_str()).filter(|scene| !scene.is_empty());
    let calibration = card.calibration(scene);
    let detector = calibration.and_then(|found| found.detector.as_ref());
    let has_detector =
        |id: &str| model.calibrations.iter().any(|of| of.id == id && of.detector.is_some());
    anyhow::ensure!(
        detector.is_some() || !calibration.is_some_and(|found| has_detector(&found.id)),
        "the model's detector has something that this client does not know; a client of the server's version is needed"
    );
    let wanted = card.frame_interval.map_or(Wanted::AsTheyAre, Wanted::At);
    let clock = Clock { untimed: arguments.fps, wanted };
    let paced = sources.into_iter().map(|source| source.paced(clock));
    let sources: Arc<Vec<Source>> = Arc::new(paced.collect::<Result<_, _>>()?);
    sources.iter().try_for_each(|source| source.check_length(shape))?;
    let labels = read_labels(arguments.labels.as_deref(), &sources)?;

    // 2. Frames to scores.
    let version = model.version.as_str();
    let session =
        Session { client, sources, labels, shape, version, detector, arguments: &arguments };
    let started = Instant::now();
    let scored = session.score(&mut output).await?;
    let summary = Summary::new(&model, &scored.records, &scored.frames, started.elapsed());
    match arguments.format {
        Format::Table => write!(output, "{}", table::render(&scored.records, &summary))?,
        Format::Jsonl => write_line(&mut output, &LastLine { summary: &summary })?,
    }
    output.complete()?;

    // 3. Scores to pictures.
    if let Some(mut picture) = picture {
        picture.write_all(&encode(&session.curve(&summary, &scored)?)?)?;
        picture.complete()?;
    }
    if let Some(folder) = &arguments.worst_dir {
        session.draw_worst(&scored.records, folder).await?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct LastLine<'a> {
    summary: &'a Summary,
}

fn write_line(out: &mut Output, value: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

/// Ground truth, one label a frame of all videos in order.
fn read_labels(path: Option<&Path>, sources: &[Source]) -> anyhow::Result<Option<Labels>> {
    let Some(path) = path else { return Ok(None) };
    let frames: Vec<usize> =
        sources.iter().map(Source::count_frames).collect::<anyhow::Result<_>>()?;
    Ok(Some(Labels::read(path, &frames)?))
}

/// Everything that is known before the first clip is sent.
struct Session<'a> {
    client: Client,
    sources: Arc<Vec<Source>>,
    labels: Option<Labels>,
    shape: ClipShape,
    /// The model's version when the run began.
    version: &'a str,
    /// Of the scene's calibration; none where the model has none.
    detector: Option<&'a Detector>,
    arguments: &'a ScoreArguments,
}

/// All answers, in order.
struct ScoredVideos {
    records: Vec<FrameRecord>,
    /// Frames of each video.
    frames: Vec<usize>,
}

impl Session<'_> {
    async fn score(&self, output: &mut Output) -> anyhow::Result<ScoredVideos> {
        let concurrency = usize::from(self.arguments.concurrency);
        let readings = pipeline::read(Arc::clone(&self.sources), self.packing(), concurrency);
        let progress = progress(&self.sources, self.shape);
        let mut records = Vec::new();
        let mut smoothing = Smoothing::new(self.detector);
        let take = |scored: pipeline::Scored| {
            let video = self.sources[scored.video].name();
            let label = self.label(scored.video, scored.frame);
            // Another version has other distributions: its sums mean something else.
            let (asked, answered) = (&self.version, &scored.response.model_version);
            anyhow::ensure!(
                asked == answered,
                "the server answered frame {} of video {video} with version {answered:?} of the model; it had {asked:?} when this began; run it again",
                scored.frame
            );
            let smoothed = smoothing.push(scored.video, scored.response.surprise_sum);
            let record = FrameRecord::new(video, label, &scored, smoothed)?;
            if self.arguments.format == Format::Jsonl {
                write_line(output, &record)?;
            }
            records.push(record);
            progress.inc(1);
            Ok(())
        };
        let template = |video| self.template(video);
        let frames = pipeline::score(&self.client, template, readings, concurrency, take).await?;
        progress.finish_and_clear();
        Ok(ScoredVideos { records, frames })
    }

    fn packing(&self) -> Packing {
        Packing { shape: self.shape, payload: self.arguments.payload }
    }

    fn template(&self, video: usize) -> v1::ScoreClipRequest {
        let interval = self.sources[video].interval();
        v1::ScoreClipRequest {
            model: self.arguments.model.clone(),
            scene: self.arguments.scene.clone(),
            frame_interval_ms: interval.map_or(0.0, FrameInterval::milliseconds),
            ..Default::default()
        }
    }

    fn label(&self, video: usize, frame: usize) -> Option<bool> {
        self.labels.as_ref().and_then(|labels| labels.video(video).get(frame)).copied()
    }

    fn curve(&self, summary: &Summary, scored: &ScoredVideos) -> anyhow::Result<image::RgbImage> {
        let served = scored.records.iter().all(|record| record.served().is_some());
        let by_video = summary::video_anomaly(&scored.records, summary.gamma);
        let mut strips: Vec<curve::Strip> = self
            .sources
            .iter()
            .zip(&scored.frames)
            .enumerate()
            .map(|(video, (source, &frames))| curve::Strip {
                name: source.name().to_owned(),
                frames,
                abnormal: self
                    .labels
                    .as_ref()
                    .map(|labels| curve::runs(labels.video(video)))
                    .unwrap_or_default(),
                ..Default::default()
            })
            .collect();
        for (record, by_video) in scored.records.iter().zip(by_video) {
            let strip = &mut strips[record.video_index];
            let score = if served { record.served().unwrap_or(by_video) } else { by_video };
            strip.scores.push((record.frame, score));
            strip.threshold = record.threshold();
        }
        let quantity = match summary.served {
            Some(ServedScore::SmoothedSurprise) => curve::Quantity::Surprise,
            Some(ServedScore::AnomalyScore) | None => curve::Quantity::AnomalyScore,
        };
        curve::draw(&summary.model, quantity, &strips)
    }

    async fn draw_worst(&self, records: &[FrameRecord], folder: &Path) -> anyhow::Result<()> {
        let worst = WorstFrames {
            client: &self.client,
            sources: Arc::clone(&self.sources),
            packing: self.packing(),
            template: |video| self.template(video),
            folder,
        };
        let paths: Vec<PathBuf> = worst.draw(records, self.arguments.worst).await?;
        let mut err = io::stderr();
        if err.is_terminal() {
            writeln!(err, "{} pictures in {}", paths.len(), folder.display())?;
        }
        Ok(())
    }
}

/// Shown on standard error where that is a terminal; a spinner where a video's length is unknown.
fn progress(sources: &[Source], shape: ClipShape) -> ProgressBar {
    let clips = |source: &Source| {
        source.known_frames().map(|frames| frames.saturating_sub(shape.past_frames()) as u64)
    };
    let total: Option<u64> = sources.iter().map(clips).sum();
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = match total {
        Some(_) => "{bar:40} {pos}/{len} clips, {per_sec}, {eta} left",
        None => "{spinner} {pos} clips, {per_sec}",
    };
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| {
        // The templates above are constants and valid.
        ProgressStyle::default_bar()
    }));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
