use protoguard_core::Detector;
use protoguard_core::metrics::{AlarmedVideo, EventReport, EventRule, MetricError, event_report};
use serde::Serialize;

use super::{Candidate, FALSE_ALARM_RATE, Score};
use crate::evaluate::report::Measured;

/// What the served score's alarm did on the test videos.
#[derive(Clone, Debug, Serialize)]
pub struct Alarm {
    /// The smoothed surprise above which it is raised.
    pub threshold: f64,
    /// What counts as one event.
    pub rule: EventRule,
    /// Of the events found, how late, in frames.
    pub median_delay_frames: Option<f64>,
    /// Events and false alarms. Frames are counted from each video's first scored frame.
    #[serde(flatten)]
    pub events: EventReport,
}

impl Alarm {
    /// The alarm of the measured videos; nothing where the checkpoint has no detector.
    pub(super) fn of(measured: &Measured<'_>) -> Result<Option<Self>, MetricError> {
        let Some(served) = Candidate::of(Score::Served, measured) else { return Ok(None) };
        let threshold = Detector::threshold(FALSE_ALARM_RATE);
        let alarms: Vec<Vec<bool>> = served
            .by_video
            .iter()
            .map(|video| video.iter().map(|&surprise| surprise > threshold).collect())
            .collect();
        let videos: Vec<AlarmedVideo<'_>> = measured
            .labels
            .iter()
            .zip(&alarms)
            .map(|(abnormal, alarm)| AlarmedVideo { abnormal, alarm })
            .collect();
        let rule = EventRule::default();
        let events = event_report(&videos, rule)?;
        let median_delay_frames = events.median_delay_frames();
        Ok(Some(Self { threshold, rule, median_delay_frames, events }))
    }
}
