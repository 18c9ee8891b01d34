//! The last line that `evaluate` prints.

use protoguard_checkpoint::TrainingRecord;
use protoguard_core::normalise::Grouping;
use serde::Serialize;

use super::live::Score;
use super::normalised::Signal;
use super::report::EvalReport;

/// The last line that `evaluate` prints: one JSON object, null where there is nothing to measure a
/// number on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SummaryLine {
    /// Micro AUC of the paper's S, scaled by video.
    pub auc_video_paper: Option<f64>,
    /// Micro AUC of the served score, scaled by video.
    pub auc_video_served: Option<f64>,
    /// Micro AUC of the served score as it is.
    pub auc_global_served: Option<f64>,
    /// Share of abnormal frames above the alarm's threshold.
    pub tpr: Option<f64>,
    /// Share of normal frames above it.
    pub fpr: Option<f64>,
    /// Events of the labels.
    pub events: Option<usize>,
    /// Events in which the alarm was raised.
    pub events_found: Option<usize>,
    /// Alarms that touch no event.
    pub false_events: Option<usize>,
    /// Region-based detection criterion.
    pub rbdc: Option<f64>,
    /// Track-based detection criterion.
    pub tbdc: Option<f64>,
    /// Micro AUC of the feature distance alone, scaled by video.
    pub auc_feature_distance: Option<f64>,
    /// The motion branch's loss on held-out video over that of predicting no motion, as the
    /// checkpoint records it.
    pub motion_loss_vs_zero: Option<f64>,
    /// Micro AUC of the copy-frame baseline as it is.
    pub auc_global_copy_frame: Option<f64>,
    /// The data set.
    pub data: String,
    /// The checkpoint's version.
    pub model: String,
    /// Seed of the training.
    pub seed: u64,
}

impl SummaryLine {
    /// The line of a report on a checkpoint.
    pub fn new(report: &EvalReport, training: &TrainingRecord) -> Self {
        let live = &report.live;
        let by_video = |signal| report.get(Grouping::Video, signal).map(|found| found.auc);
        let served = live.row(Score::Served);
        let rates = served.and_then(|row| row.rates).map(|rates| rates.found);
        let events = live.alarm.as_ref().map(|alarm| &alarm.events);
        Self {
            auc_video_paper: by_video(Signal::Combined),
            auc_video_served: served.map(|row| row.auc_video),
            auc_global_served: served.and_then(|row| row.auc_global),
            tpr: rates.map(|rates| rates.true_positive_rate),
            fpr: rates.map(|rates| rates.false_positive_rate),
            events: events.map(|events| events.events.len()),
            events_found: events.map(|events| events.found()),
            false_events: events.map(|events| events.false_alarms.len()),
            rbdc: live.regions.map(|regions| regions.rbdc),
            tbdc: live.regions.map(|regions| regions.tbdc),
            auc_feature_distance: by_video(Signal::FeatureDistance),
            motion_loss_vs_zero: training.metrics.get("motion_loss_vs_zero").copied(),
            auc_global_copy_frame: live.row(Score::CopyFrame).and_then(|row| row.auc_global),
            data: report.subject.data.clone(),
            model: report.subject.model_version.clone(),
            seed: training.seed,
        }
    }
}
