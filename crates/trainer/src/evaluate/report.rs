//! The numbers of an evaluation as data: what `evaluate` prints and writes.

use std::collections::BTreeMap;

use protoguard_checkpoint::MemoryHealth;
use protoguard_core::FrameInterval;
use protoguard_core::calibration::FALSE_ALARM_RATES;
use protoguard_core::metrics::{self, DetectionRates, MacroAuc, MetricError};
use protoguard_core::normalise::Grouping;
use serde::Serialize;

use super::live::LiveReport;
use super::measured::Measured;
use super::normalised::{Normalised, Signal, detector_of};
use crate::scoring::ScoredVideo;

/// Everything that was measured of one checkpoint on one labelled data set.
#[derive(Clone, Debug, Serialize)]
pub struct EvalReport {
    /// What was measured on what.
    pub subject: Subject,
    /// How good the live alarm is, beside its parts and baselines.
    pub live: LiveReport,
    /// Metrics by grouping and signal; absent where a signal or its bounds do not exist.
    pub metrics: BTreeMap<Grouping, BTreeMap<Signal, SignalMetrics>>,
    /// Rates at the checkpoint's calibrated thresholds.
    pub thresholds: Vec<ThresholdRates>,
    /// One row a video, by the field's convention (min–max by video).
    pub videos: Vec<VideoMetrics>,
    /// How the memory was read; absent without a memory.
    pub memory: Option<MemoryUse>,
    /// How fast it went, where that was measured.
    pub speed: Option<Speed>,
    /// What a reader should know before trusting a number.
    pub warnings: Vec<String>,
}

/// What was measured on what.
#[derive(Clone, Debug, Serialize)]
pub struct Subject {
    /// The checkpoint's content hash.
    pub model_version: String,
    /// The data folder's name.
    pub data: String,
    /// The label files, for a person to read.
    pub labels: String,
    /// SHA-256 of the label file, or of the hashes of several: two ground truths of one set are in use for Avenue.
    pub labels_sha256: String,
    /// Test videos.
    pub videos: usize,
    /// Test frames at the model's rate, before the first `t` of every video are dropped.
    pub frames: usize,
    /// Frames that have a score.
    pub frames_scored: usize,
    /// Abnormal frames among those scored.
    pub abnormal: usize,
    /// Milliseconds between two test frames; null where nothing says it.
    #[serde(rename = "frame_interval_ms")]
    pub frame_interval: Option<FrameInterval>,
}

/// Detection metrics of one anomaly score over all videos together.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SignalMetrics {
    /// Micro AUC: all frames of all videos in one ranking.
    pub auc: f64,
    /// Mean AUC over the videos that have both classes.
    pub macro_auc: Option<MacroAuc>,
    /// Average precision.
    pub average_precision: f64,
    /// Equal error rate.
    pub equal_error_rate: f64,
}

/// What a calibrated threshold finds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ThresholdRates {
    /// False alarms on held-out normal frames that the threshold was set for.
    pub false_alarm_rate: f64,
    /// Rates on the test frames.
    #[serde(flatten)]
    pub found: DetectionRates,
}

/// One test video, min–max by video.
#[derive(Clone, Debug, Serialize)]
pub struct VideoMetrics {
    /// Its folder's name.
    pub name: String,
    /// Frames with a score.
    pub frames: usize,
    /// Abnormal ones among them.
    pub abnormal: usize,
    /// AUC of the combined score; absent where the video has one class only.
    pub auc: Option<f64>,
    /// AUC of the copy-frame baseline on the same frames.
    pub copy_frame_auc: Option<f64>,
    /// Mean PSNR of normal and of abnormal frames, in dB.
    pub mean_psnr_db: ByClass,
    /// Mean feature distance of normal and of abnormal frames.
    pub mean_feature_distance: ByClass,
}

/// A mean over each class, absent where the class is.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ByClass {
    /// Over normal frames.
    pub normal: Option<f64>,
    /// Over abnormal frames.
    pub abnormal: Option<f64>,
}

/// How fast frames were scored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// Where the model ran.
    pub device: String,
    /// Clips a forward pass.
    pub batch_size: usize,
    /// Reading and decoding the videos, or finding them in the cache.
    pub loading_seconds: f64,
    /// From the first clip to the last score.
    pub scoring_seconds: f64,
    /// Clips scored a second of the latter.
    pub clips_per_second: f64,
}

/// How the memory was read over the test frames.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemoryUse {
    /// Sum over items of the cosine to the mean item (Eq. 26, 27).
    pub d_m: f64,
    /// Mean cosine of queries to their nearest item (Eq. 28, 29).
    pub d_q: f64,
    /// Items that were the nearest of at least one query.
    pub items_in_use: usize,
    /// Items of the memory.
    pub items: usize,
    /// `exp(entropy of the shares)`: the number of items in even use.
    pub perplexity: f64,
    /// Share of the most used item.
    pub largest_share: f64,
    /// Share of the queries whose nearest item each is, by item.
    pub shares: Vec<f64>,
}

impl MemoryUse {
    /// The use of a memory from how many queries each item was the nearest of.
    pub fn new(counts: &[f64], d_m: f64, d_q: f64) -> Self {
        let total = counts.iter().sum::<f64>().max(1.0);
        let shares: Vec<f64> = counts.iter().map(|count| count / total).collect();
        Self {
            d_m,
            d_q,
            items_in_use: counts.iter().filter(|&&count| count > 0.0).count(),
            items: counts.len(),
            perplexity: MemoryHealth::perplexity_of(counts),
            largest_share: shares.iter().copied().fold(0.0, f64::max),
            shares,
        }
    }
}

const GROUPINGS: [Grouping; 4] =
    [Grouping::Video, Grouping::Scene, Grouping::Dataset, Grouping::Calibrated];

impl EvalReport {
    /// Computes every metric.
    ///
    /// # Errors
    /// When the frames are all of one class, or scores and labels disagree in number.
    pub fn new(
        measured: &Measured<'_>,
        subject: Subject,
        memory: Option<MemoryUse>,
    ) -> Result<Self, MetricError> {
        let mut metrics: BTreeMap<Grouping, BTreeMap<Signal, SignalMetrics>> = BTreeMap::new();
        let mut warnings = Vec::new();
        for grouping in GROUPINGS {
            for signal in Signal::ALL {
                let Some(normalised) = measured.normalise(grouping, signal) else { continue };
                if signal == Signal::Combined && !normalised.degenerate.is_empty() {
                    warnings.push(degenerate_warning(grouping, &normalised.degenerate));
                }
                let found = signal_metrics(&normalised.videos, measured.labels)?;
                metrics.entry(grouping).or_default().insert(signal, found);
            }
        }
        if !metrics.contains_key(&Grouping::Calibrated) {
            warnings.push(
                "the checkpoint has no calibration: no causal score, no thresholds".to_owned(),
            );
        }
        let is_served = |video: &ScoredVideo| detector_of(measured.calibrations, video).is_some();
        let unserved = measured.videos.iter().filter(|video| !is_served(video));
        let unserved: Vec<&str> = unserved.map(|video| video.name.as_str()).collect();
        if !unserved.is_empty() {
            warnings.push(format!(
                "no served score and no alarm: the calibration for {} has no detector; protoguard-trainer calibrate makes one",
                unserved.join(", ")
            ));
        }
        let thresholds = measured.threshold_rates()?;
        let videos = measured.by_video();
        let live = LiveReport::new(measured, measured.beside)?;
        Ok(Self { subject, live, metrics, thresholds, videos, memory, speed: None, warnings })
    }

    /// One number of the table, where it exists.
    pub fn get(&self, grouping: Grouping, signal: Signal) -> Option<&SignalMetrics> {
        self.metrics.get(&grouping)?.get(&signal)
    }
}

fn degenerate_warning(grouping: Grouping, names: &[String]) -> String {
    let names = names.join(", ");
    format!("{grouping:?}: all scores of {names} are the same; its frames count as normal")
        .to_lowercase()
}

impl Measured<'_> {
    fn threshold_rates(&self) -> Result<Vec<ThresholdRates>, MetricError> {
        let scores = self.normalise(Grouping::Calibrated, Signal::Combined);
        let Some(scores) = scores else { return Ok(Vec::new()) };
        let labels = self.labels.concat();
        let mut rates = Vec::new();
        for false_alarm_rate in FALSE_ALARM_RATES {
            // Scenes have thresholds of their own: what counts is how far a score lies above its.
            let above = |(video, scores): (usize, &Vec<f64>)| {
                let threshold = self.threshold(video, false_alarm_rate)?;
                Some(scores.iter().map(|score| score - threshold).collect())
            };
            let margins: Option<Vec<Vec<f64>>> =
                scores.videos.iter().enumerate().map(above).collect();
            let Some(margins) = margins else { continue };
            let found = metrics::rates_above(&margins.concat(), &labels, 0.0)?;
            rates.push(ThresholdRates { false_alarm_rate, found });
        }
        Ok(rates)
    }

    fn by_video(&self) -> Vec<VideoMetrics> {
        let combined = self.normalise(Grouping::Video, Signal::Combined);
        let baseline = self.normalise(Grouping::Video, Signal::CopyFrame);
        let auc = |scores: &Option<Normalised>, index: usize| {
            metrics::roc_auc(&scores.as_ref()?.videos[index], &self.labels[index]).ok()
        };
        let row = |(index, video): (usize, &ScoredVideo)| {
            let labels = &self.labels[index];
            VideoMetrics {
                name: video.name.clone(),
                frames: labels.len(),
                abnormal: labels.iter().filter(|&&abnormal| abnormal).count(),
                auc: auc(&combined, index),
                copy_frame_auc: auc(&baseline, index),
                mean_psnr_db: ByClass::of(video.scores.iter().map(|s| Some(s.psnr.0)), labels),
                mean_feature_distance: ByClass::of(
                    video.scores.iter().map(|s| s.feature_distance.map(|d| d.0)),
                    labels,
                ),
            }
        };
        self.videos.iter().enumerate().map(row).collect()
    }
}

impl ByClass {
    fn of(values: impl Iterator<Item = Option<f64>> + Clone, labels: &[bool]) -> Self {
        let mean = |class: bool| {
            let of_class = values.clone().zip(labels).filter(|&(_, &label)| label == class);
            let found: Vec<f64> = of_class.filter_map(|(value, _)| value).collect();
            (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
        };
        Self { normal: mean(false), abnormal: mean(true) }
    }
}

fn signal_metrics(videos: &[Vec<f64>], labels: &[Vec<bool>]) -> Result<SignalMetrics, MetricError> {
    let (scores, all) = (videos.concat(), labels.concat());
    let pairs = videos.iter().map(Vec::as_slice).zip(labels.iter().map(Vec::as_slice));
    Ok(SignalMetrics {
        auc: metrics::roc_auc(&scores, &all)?,
        macro_auc: metrics::macro_auc(pairs),
        average_precision: metrics::average_precision(&scores, &all)?,
        equal_error_rate: metrics::equal_error_rate(&scores, &all)?,
    })
}
