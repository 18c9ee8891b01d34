use protoguard_core::metrics::{AlarmedVideo, EventReport, EventRule, MetricError, event_report};
use protoguard_core::{AlarmRule, Detector};
use serde::Serialize;

use crate::evaluate::measured::Measured;

/// The share of normal frames that may lie above the alarm's threshold.
pub const FALSE_ALARM_RATE: f64 = 0.01;

/// What the served score's alarm did on the test videos.
#[derive(Clone, Debug, Serialize)]
pub struct Alarm {
    /// When it is raised, on the smoothed surprise, and when it ends.
    pub rule: AlarmRule,
    /// What counts as one event.
    pub event_rule: EventRule,
    /// Of the events found, how late, in frames.
    pub median_delay_frames: Option<f64>,
    /// Events and false alarms. Frames are counted from each video's first scored frame.
    #[serde(flatten)]
    pub events: EventReport,
}

impl Alarm {
    /// The alarm of the measured videos at [`FALSE_ALARM_RATE`]; nothing where the checkpoint has
    /// no detector.
    pub(super) fn of(measured: &Measured<'_>) -> Result<Option<Self>, MetricError> {
        let Some(surprises) = measured.smoothed() else { return Ok(None) };
        let rule = AlarmRule::above(Detector::threshold(FALSE_ALARM_RATE));
        Self::by(measured.labels, &surprises, &vec![rule; surprises.len()])
    }

    /// The alarm on these smoothed surprises by one rule a video, of which the first is told;
    /// nothing without a video.
    pub(super) fn by(
        labels: &[Vec<bool>],
        surprises: &[Vec<f64>],
        rules: &[AlarmRule],
    ) -> Result<Option<Self>, MetricError> {
        let Some(&rule) = rules.first() else { return Ok(None) };
        let stands = |(video, rule): (&Vec<f64>, &AlarmRule)| {
            let mut alarm = rule.start();
            video.iter().map(|&surprise| alarm.push(surprise)).collect()
        };
        let alarms: Vec<Vec<bool>> = surprises.iter().zip(rules).map(stands).collect();
        let videos: Vec<AlarmedVideo<'_>> = labels
            .iter()
            .zip(&alarms)
            .map(|(abnormal, alarm)| AlarmedVideo { abnormal, alarm })
            .collect();
        let event_rule = EventRule::default();
        let events = event_report(&videos, event_rule)?;
        let median_delay_frames = events.median_delay_frames();
        Ok(Some(Self { rule, event_rule, median_delay_frames, events }))
    }
}
