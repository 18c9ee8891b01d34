use protoguard_core::metrics::{
    self, AucInterval, Bootstrap, DetectionRates, MetricError, ScoredVideo,
};
use protoguard_core::normalise::quantile;
use serde::Serialize;

use super::alarm::FALSE_ALARM_RATE;
use super::score::{Candidate, Score};

/// How well one score tells abnormal frames.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ScoreRow {
    /// Which.
    pub score: Score,
    /// Micro AUC after scaling by each video's own extremes: the field's convention.
    pub auc_video: f64,
    /// Micro AUC on one scale for all videos; absent where there is no such scale.
    pub auc_global: Option<f64>,
    /// A 95 % bootstrap interval of the latter, whole videos drawn; absent for a single video.
    pub auc_global_interval: Option<AucInterval>,
    /// What a threshold for one false alarm in a hundred frames finds.
    pub rates: Option<RowRates>,
}

/// Rates at a threshold, and where it comes from.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RowRates {
    /// Which normal frames it was set on.
    pub threshold_from: ThresholdOrigin,
    /// Rates on the test frames.
    #[serde(flatten)]
    pub found: DetectionRates,
}

/// Which normal frames a threshold was set on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdOrigin {
    /// Held-out normal video, as live.
    HeldOut,
    /// The test's own normal frames, which nobody has live: an upper bound.
    TestFrames,
}

impl ScoreRow {
    /// Measures a score.
    ///
    /// # Errors
    /// When the frames are all of one class, or scores and labels disagree in number.
    pub fn new(candidate: &Candidate, labels: &[Vec<bool>]) -> Result<Self, MetricError> {
        let all = labels.concat();
        let auc_video = metrics::roc_auc(&candidate.by_video.concat(), &all)?;
        let score = candidate.score;
        let Some(global) = &candidate.global else {
            let (auc_global, auc_global_interval, rates) = (None, None, None);
            return Ok(Self { score, auc_video, auc_global, auc_global_interval, rates });
        };
        let videos: Vec<ScoredVideo<'_>> = global
            .iter()
            .zip(labels)
            .map(|(scores, labels)| ScoredVideo { scores, labels })
            .collect();
        Ok(Self {
            score,
            auc_video,
            auc_global: Some(metrics::roc_auc(&global.concat(), &all)?),
            auc_global_interval: metrics::auc_interval(&videos, Bootstrap::default()).ok(),
            rates: RowRates::new(candidate, labels)?,
        })
    }
}

/// How far every score lies above its threshold.
#[derive(Clone, Debug)]
pub struct Margins {
    /// Which normal frames the thresholds were set on.
    pub threshold_from: ThresholdOrigin,
    /// One list a video; above 0 raises an alarm.
    pub videos: Vec<Vec<f64>>,
}

impl Candidate {
    /// Margins over the thresholds of the checkpoint, or over one that [`FALSE_ALARM_RATE`] of the
    /// frames labelled normal exceed; nothing without a scale for all videos.
    pub fn margins(&self, labels: &[Vec<bool>]) -> Option<Margins> {
        let global = self.global.as_ref()?;
        let (threshold_from, thresholds) = match &self.thresholds {
            Some(thresholds) => (ThresholdOrigin::HeldOut, thresholds.clone()),
            None => {
                let frames = global.iter().flatten().zip(labels.iter().flatten());
                let normal: Vec<f64> =
                    frames.filter(|&(_, &abnormal)| !abnormal).map(|(&score, _)| score).collect();
                let threshold = quantile(&normal, 1.0 - FALSE_ALARM_RATE)?;
                (ThresholdOrigin::TestFrames, vec![threshold; global.len()])
            }
        };
        let above = |(scores, threshold): (&Vec<f64>, f64)| {
            scores.iter().map(|score| score - threshold).collect()
        };
        Some(Margins { threshold_from, videos: global.iter().zip(thresholds).map(above).collect() })
    }
}

impl RowRates {
    fn new(candidate: &Candidate, labels: &[Vec<bool>]) -> Result<Option<Self>, MetricError> {
        let Some(Margins { threshold_from, videos }) = candidate.margins(labels) else {
            return Ok(None);
        };
        let found = metrics::rates_above(&videos.concat(), &labels.concat(), 0.0)?;
        Ok(Some(Self { threshold_from, found }))
    }
}
