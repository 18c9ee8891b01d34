//! What comes of the alarms an hour that an operator asks for.

use protoguard_core::metrics::{FalseAlarmRate, MetricError};
use protoguard_core::{AlarmRule, Detector};
use serde::Serialize;

use super::alarm::Alarm;
use crate::evaluate::measured::Measured;
use crate::evaluate::normalised::detector_of;

/// The numbers of false alarms an hour that are tried.
const AN_HOUR: [f64; 4] = [60.0, 10.0, 1.0, 0.1];

/// The alarm set for so many false alarms an hour.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Promise {
    /// What it was set for.
    pub alarms_an_hour: f64,
    /// The smoothed surprise above which a frame is unusual; the highest, where scenes differ.
    pub threshold: f64,
    /// Whether so rare an alarm is less than the calibration's normal video says anything of, so
    /// that its threshold rests on the tail that was fitted.
    pub extrapolated: bool,
    /// Events found.
    pub events_found: usize,
    /// Events of the labels.
    pub events: usize,
    /// Of the events found, how late, in frames.
    pub median_delay_frames: Option<f64>,
    /// False alarms.
    pub false_alarms: usize,
    /// How many that is an hour; absent without normal video.
    pub found: Option<FalseAlarmRate>,
}

impl Promise {
    /// What each of the tried numbers gives; none where the frame rate is not known, or a
    /// calibration's detector has not counted alarms.
    ///
    /// # Errors
    /// When scores and labels disagree in number.
    pub(super) fn all(
        measured: &Measured<'_>,
        frames_per_second: Option<f64>,
    ) -> Result<Vec<Self>, MetricError> {
        let detectors = measured.videos.iter().map(|it| detector_of(measured.calibrations, it));
        let detectors: Option<Vec<&Detector>> = detectors.collect();
        let known = (detectors, measured.smoothed(), frames_per_second);
        let (Some(detectors), Some(surprises), Some(fps)) = known else { return Ok(Vec::new()) };
        let cameras = Cameras { labels: measured.labels, detectors, surprises };
        let promise = |an_hour| Self::of(&cameras, Asked { an_hour, fps });
        AN_HOUR.into_iter().filter_map(|an_hour| promise(an_hour).transpose()).collect()
    }

    fn of(cameras: &Cameras<'_>, asked: Asked) -> Result<Option<Self>, MetricError> {
        let Cameras { labels, detectors, surprises } = cameras;
        let frames = asked.frames_an_hour();
        let rules: Option<Vec<AlarmRule>> =
            detectors.iter().map(|it| it.alarm(asked.an_hour, frames)).collect();
        let Some(rules) = rules else { return Ok(None) };
        let Some(alarm) = Alarm::by(labels, surprises, &rules)? else { return Ok(None) };
        let unseen = |it: &Detector| {
            it.alarms.is_some_and(|alarms| asked.an_hour < alarms.rarest_seen(frames))
        };
        Ok(Some(Self {
            alarms_an_hour: asked.an_hour,
            threshold: rules.iter().map(|rule| rule.threshold).fold(0.0, f64::max),
            extrapolated: detectors.iter().any(|it| unseen(it)),
            events_found: alarm.events.found(),
            events: alarm.events.events.len(),
            median_delay_frames: alarm.median_delay_frames,
            false_alarms: alarm.events.false_alarms.len(),
            found: alarm.events.false_alarm_rate(1.0 / asked.fps),
        }))
    }
}

/// The test videos, one entry a video in each.
struct Cameras<'a> {
    labels: &'a [Vec<bool>],
    detectors: Vec<&'a Detector>,
    /// Smoothed, frame by frame.
    surprises: Vec<Vec<f64>>,
}

/// What an operator asks of an alarm.
#[derive(Clone, Copy)]
struct Asked {
    /// False alarms, at most so many.
    an_hour: f64,
    /// Frames a second.
    fps: f64,
}

impl Asked {
    fn frames_an_hour(self) -> f64 {
        3600.0 * self.fps
    }
}
