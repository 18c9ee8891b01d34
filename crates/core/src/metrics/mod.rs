//! Detection metrics. Scores are anomaly scores, high for abnormal; a label is true for an
//! abnormal frame.
//!
//! [`roc_auc`] and its kin judge the ranking of frames, [`auc_interval`] says how far the videos
//! at hand fix it, [`event_report`] judges alarms as a person at a screen meets them, and
//! [`region_detection`] and [`pixel_auc`] ask whether the score lies where the anomaly is.

mod error;
mod events;
mod interval;
mod ranking;
mod rate;
mod regions;

pub use error::MetricError;
pub use events::{
    AlarmedVideo, Detection, EventOutcome, EventReport, EventRule, FalseAlarm, event_report,
};
pub use interval::{AucInterval, Bootstrap, ScoredVideo, auc_interval};
pub use ranking::{
    DetectionRates, MacroAuc, RocCurve, RocPoint, average_precision, equal_error_rate, macro_auc,
    rates_above, roc_auc,
};
pub use rate::{FalseAlarmRate, false_alarm_rate};
pub use regions::{
    MappedFrame, RegionDetection, RegionPoint, RegionRule, pixel_auc, region_detection,
};
