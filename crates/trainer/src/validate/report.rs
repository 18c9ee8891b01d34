use std::collections::BTreeMap;

use protoguard_core::metrics::{self, DetectionRates, MetricError};
use protoguard_datasets::anomalies::InsertedKind;
use serde::Serialize;

use super::InsertedSet;
use crate::evaluate::{Candidate, Measured, Score, ScoreRow, ThresholdOrigin};

/// How well scores tell anomalies that were put in. It serialises as the last line that `validate`
/// prints.
#[derive(Clone, Debug, Serialize)]
pub struct ValidationReport {
    /// Micro AUC of the served score, on one scale for all videos; null without a detector.
    pub auc_global_served: Option<f64>,
    /// Share of abnormal frames above the alarm's threshold.
    pub tpr: Option<f64>,
    /// Share of normal frames above it.
    pub fpr: Option<f64>,
    /// The same of every score, by its name.
    pub scores: BTreeMap<&'static str, ScoreMetrics>,
    /// Events of each kind that scored frames show, one a video.
    pub events: BTreeMap<InsertedKind, usize>,
    /// Frames with a score.
    pub frames: usize,
    /// Frames that show something put in.
    pub abnormal: usize,
    /// Why a kind is not in a video.
    pub skipped: Vec<String>,
    /// The data set.
    pub data: String,
    /// The checkpoint's version.
    pub model: String,
    /// Of what was put in.
    pub seed: u64,
}

/// One score.
#[derive(Clone, Debug, Serialize)]
pub struct ScoreMetrics {
    /// For people.
    #[serde(skip)]
    pub title: &'static str,
    /// Against everything that was put in, and against each kind by itself.
    #[serde(flatten)]
    pub all: Found,
    /// Share of normal frames above the threshold.
    pub fpr: f64,
    /// Which normal frames the threshold was set on.
    pub threshold_from: ThresholdOrigin,
    /// Each kind's frames against all normal frames.
    pub kinds: BTreeMap<InsertedKind, Found>,
}

/// How well a score tells some abnormal frames from all normal ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Found {
    /// Micro AUC on one scale for all videos.
    pub auc_global: f64,
    /// Share of the abnormal frames above the threshold for 1 % of normal frames.
    pub tpr: f64,
}

impl ValidationReport {
    /// Measures every score; data, model and seed are the caller's to name.
    ///
    /// # Errors
    /// When no frame is abnormal, or all are.
    pub fn new(measured: &Measured<'_>, set: &InsertedSet) -> Result<Self, MetricError> {
        let mut scores = BTreeMap::new();
        for score in Score::all() {
            let Some(candidate) = Candidate::of(score, measured) else { continue };
            if let Some(found) = ScoreMetrics::of(&candidate, measured.labels, set)? {
                scores.insert(score.name(), found);
            }
        }
        let served = scores.get(Score::Served.name());
        let mut events: BTreeMap<InsertedKind, usize> = BTreeMap::new();
        let shown = |labels: &[bool]| labels.contains(&true);
        let scored = set.videos.iter().zip(measured.labels).filter(|(_, labels)| shown(labels));
        scored.for_each(|(made, _)| *events.entry(made.kind).or_default() += 1);
        let labels = measured.labels.iter().flatten();
        Ok(Self {
            auc_global_served: served.map(|found| found.all.auc_global),
            tpr: served.map(|found| found.all.tpr),
            fpr: served.map(|found| found.fpr),
            events,
            frames: labels.clone().count(),
            abnormal: labels.filter(|&&abnormal| abnormal).count(),
            skipped: set.skipped.clone(),
            scores,
            data: String::new(),
            model: String::new(),
            seed: 0,
        })
    }
}

impl ScoreMetrics {
    fn of(
        candidate: &Candidate,
        labels: &[Vec<bool>],
        set: &InsertedSet,
    ) -> Result<Option<Self>, MetricError> {
        let ScoreRow { auc_global: Some(auc_global), rates: Some(rates), .. } =
            ScoreRow::new(candidate, labels)?
        else {
            return Ok(None);
        };
        let DetectionRates { true_positive_rate: tpr, false_positive_rate: fpr } = rates.found;
        let (Some(global), Some(margins)) = (&candidate.global, candidate.margins(labels)) else {
            return Ok(None);
        };
        let mut kinds = BTreeMap::new();
        for kind in InsertedKind::ALL {
            let frames = OfKind { labels, set, kind };
            let (scores, margins) = (frames.of(global), frames.of(&margins.videos));
            let labels = frames.labels();
            if labels.contains(&true) {
                let auc_global = metrics::roc_auc(&scores, &labels)?;
                let tpr = metrics::rates_above(&margins, &labels, 0.0)?.true_positive_rate;
                kinds.insert(kind, Found { auc_global, tpr });
            }
        }
        Ok(Some(Self {
            title: candidate.score.title(),
            all: Found { auc_global, tpr },
            fpr,
            threshold_from: rates.threshold_from,
            kinds,
        }))
    }
}

/// The abnormal frames of one kind, and all normal ones.
struct OfKind<'a> {
    labels: &'a [Vec<bool>],
    set: &'a InsertedSet,
    kind: InsertedKind,
}

impl OfKind<'_> {
    fn labels(&self) -> Vec<bool> {
        let videos: Vec<Vec<f64>> = self
            .labels
            .iter()
            .map(|video| video.iter().map(|&abnormal| f64::from(u8::from(abnormal))).collect())
            .collect();
        self.of(&videos).into_iter().map(|abnormal| abnormal > 0.0).collect()
    }

    fn of(&self, videos: &[Vec<f64>]) -> Vec<f64> {
        let videos = videos.iter().zip(self.labels).zip(&self.set.videos);
        let wanted = videos.flat_map(|((values, labels), made)| {
            let mine = made.kind == self.kind;
            let frames = values.iter().zip(labels);
            frames.filter(move |&(_, &abnormal)| mine || !abnormal).map(|(&value, _)| value)
        });
        wanted.collect()
    }
}
