//! Whether normal video is normal: what a camera's calibration finds an alarm in is not learnt as
//! normal by the next one unless a person says so. One abnormal night must not become the new
//! normal.

use std::ops::Range;

use protoguard_core::{AlarmRule, Calibration, Detector, FrameInterval, Zones};

use super::{NormalScores, ScoredNormal};

/// The alarms in an hour that the rule is set for.
const ALARMS_AN_HOUR: f64 = 1.0;
/// The share of frames above it, where alarms were not counted or the frames' rate is not known.
const FALSE_ALARM_RATE: f64 = 0.01;
/// Alarms that a message names.
const NAMED: usize = 5;

/// Video that the calibration that is there finds abnormal.
#[derive(Debug, thiserror::Error)]
#[error(
    "the calibration {id:?} that is there raises {} in this video, above a surprise of {threshold:.2}: {}; \
     leave these videos out, or pass --accept-alarms to take them as normal",
    count(alarms.len()), names(alarms)
)]
pub(crate) struct AlarmsError {
    pub(crate) id: String,
    pub(crate) threshold: f64,
    pub(crate) alarms: Vec<FoundAlarm>,
}

/// One alarm.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FoundAlarm {
    pub(crate) video: String,
    /// Of the frames that were read.
    pub(crate) frames: Range<usize>,
    /// The largest surprise in it.
    pub(crate) peak: f64,
}

fn count(alarms: usize) -> String {
    if alarms == 1 { "an alarm".to_owned() } else { format!("{alarms} alarms") }
}

fn names(alarms: &[FoundAlarm]) -> String {
    let name = |alarm: &FoundAlarm| {
        let FoundAlarm { video, frames, peak } = alarm;
        format!("frames {} to {} of {video:?} up to {peak:.2}", frames.start, frames.end - 1)
    };
    let mut named: Vec<String> = alarms.iter().take(NAMED).map(name).collect();
    if alarms.len() > NAMED {
        named.push(format!("and {} more", alarms.len() - NAMED));
    }
    named.join(", ")
}

/// Refuses video in which the calibration of its scene raises an alarm. One that has no detector
/// raises none.
pub(super) fn check(
    before: Option<&Calibration>,
    normal: &ScoredNormal,
    interval: Option<FrameInterval>,
    zones: &Option<Zones>,
) -> Result<(), AlarmsError> {
    let Some((id, detector)) = before.and_then(|it| Some((&it.id, it.detector.as_ref()?))) else {
        return Ok(());
    };
    if before.is_some_and(|before| before.zones != *zones) {
        tracing::warn!("the zones are others than before: the video is taken as normal unseen");
        return Ok(());
    }
    let rule = rule(detector, interval);
    let videos = normal.held_out.iter().chain(&normal.learnt);
    let alarms: Vec<FoundAlarm> = videos.flat_map(|video| alarms(detector, rule, video)).collect();
    if alarms.is_empty() {
        return Ok(());
    }
    Err(AlarmsError { id: id.clone(), threshold: rule.threshold, alarms })
}

fn rule(detector: &Detector, interval: Option<FrameInterval>) -> AlarmRule {
    let by_the_hour = interval.and_then(|it| detector.alarm(ALARMS_AN_HOUR, it.frames_an_hour()));
    by_the_hour.unwrap_or_else(|| AlarmRule::above(Detector::threshold(FALSE_ALARM_RATE)))
}

/// The alarms of one video, each from the frame at which it is raised to the last unusual one.
fn alarms(detector: &Detector, rule: AlarmRule, video: &NormalScores) -> Vec<FoundAlarm> {
    let (mut smoother, mut alarm) = (detector.smoother(), rule.start());
    let mut found: Vec<FoundAlarm> = Vec::new();
    let mut stood = false;
    let first = video.video.range().start + video.scored.first_frame;
    for (at, statistics) in video.scored.statistics.iter().enumerate() {
        let surprise = smoother.push(detector.judge(statistics).sum);
        let stands = alarm.push(surprise);
        let frame = first + at;
        match found.last_mut() {
            Some(last) if stands && stood => {
                last.peak = last.peak.max(surprise);
                if surprise > rule.threshold {
                    last.frames.end = frame + 1;
                }
            }
            _ if stands => found.push(FoundAlarm {
                video: video.scored.name.clone(),
                frames: frame..frame + 1,
                peak: surprise,
            }),
            _ => {}
        }
        stood = stands;
    }
    found
}
