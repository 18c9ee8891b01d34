//! Alarms against events, as a person at a screen meets them: found or missed, how late, and how
//! often for nothing.

use std::ops::Range;

use serde::Serialize;

use super::{FalseAlarmRate, MetricError, false_alarm_rate};
use crate::normalise::quantile;

/// One video's truth and alarms, one a frame; the alarms after smoothing and thresholds. Frames
/// that have no score, the first `t`, are left out of both or carry no alarm.
#[derive(Clone, Copy, Debug)]
pub struct AlarmedVideo<'a> {
    /// True for an abnormal frame.
    pub abnormal: &'a [bool],
    /// True while the alarm is raised.
    pub alarm: &'a [bool],
}

/// What counts as one event.
///
/// An event is a maximal run of abnormal frames, or several with at most `join_gap_frames` normal
/// frames between two of them. The frames of such a gap belong to the event: an alarm there is
/// not false, and they are not normal frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventRule {
    /// Zero keeps every run apart.
    pub join_gap_frames: usize,
}

/// What became of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct EventOutcome {
    /// Position of the video.
    pub video: usize,
    /// Index of the event's first frame.
    pub first_frame: usize,
    /// Its frames, joined gaps included.
    pub frames: usize,
    /// Nothing where no alarm was raised inside.
    pub detection: Option<Detection>,
}

/// How an event was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Detection {
    /// First frame inside with the alarm raised, minus the event's first frame.
    pub delay_frames: usize,
    /// Whether the alarm already stood when the event began. The delay is zero then, and says
    /// nothing: an alarm that always stands finds every event.
    pub already_raised: bool,
}

/// A maximal run of raised alarm that touches no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FalseAlarm {
    /// Position of the video.
    pub video: usize,
    /// Index of its first frame.
    pub first_frame: usize,
    /// Its frames.
    pub frames: usize,
}

/// Events and alarms of all videos.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventReport {
    /// Every event, in order.
    pub events: Vec<EventOutcome>,
    /// Every false alarm, in order.
    pub false_alarms: Vec<FalseAlarm>,
    /// Frames outside all events with the alarm raised: those of false alarms, and those by which
    /// an alarm began before its event or outlived it.
    pub false_alarm_frames: usize,
    /// Frames outside all events.
    pub normal_frames: usize,
}

/// Holds the alarms of `videos` against their truth.
///
/// An alarm run that touches an event is never a false alarm, however far it reaches out of it;
/// its frames outside count as [`EventReport::false_alarm_frames`]. One run may find several
/// events. No run goes from one video into the next.
///
/// # Errors
/// When a video has another number of alarm states than labels.
pub fn event_report(
    videos: &[AlarmedVideo<'_>],
    rule: EventRule,
) -> Result<EventReport, MetricError> {
    let mut report = EventReport::default();
    for (video, &AlarmedVideo { abnormal, alarm }) in videos.iter().enumerate() {
        if abnormal.len() != alarm.len() {
            let (alarms, labels) = (alarm.len(), abnormal.len());
            return Err(MetricError::Alarms { video, alarms, labels });
        }
        let events = events_of(abnormal, rule);
        report.add(video, &events, alarm);
    }
    Ok(report)
}

impl EventReport {
    fn add(&mut self, video: usize, events: &[Range<usize>], alarm: &[bool]) {
        let raised = |frames: Range<usize>| alarm[frames].iter().filter(|&&on| on).count();
        for event in events {
            let delay = alarm[event.clone()].iter().position(|&on| on);
            let before = event.start.checked_sub(1).is_some_and(|frame| alarm[frame]);
            let detection = delay.map(|delay_frames| Detection {
                delay_frames,
                already_raised: delay_frames == 0 && before,
            });
            let (first_frame, frames) = (event.start, event.len());
            self.events.push(EventOutcome { video, first_frame, frames, detection });
        }
        let inside = events.iter().map(|event| raised(event.clone())).sum::<usize>();
        self.false_alarm_frames += raised(0..alarm.len()) - inside;
        self.normal_frames += alarm.len() - events.iter().map(Range::len).sum::<usize>();
        for run in runs(alarm) {
            if !events.iter().any(|event| event.start < run.end && run.start < event.end) {
                let (first_frame, frames) = (run.start, run.len());
                self.false_alarms.push(FalseAlarm { video, first_frame, frames });
            }
        }
    }

    /// How many events were found.
    pub fn found(&self) -> usize {
        self.events.iter().filter(|event| event.detection.is_some()).count()
    }

    /// How many were missed.
    pub fn missed(&self) -> usize {
        self.events.len() - self.found()
    }

    /// Median delay of the events found, in frames: of two middle ones their mean.
    pub fn median_delay_frames(&self) -> Option<f64> {
        let found = self.events.iter().filter_map(|event| event.detection);
        let delays = found.map(|detection| detection.delay_frames as f64);
        quantile(&delays.collect::<Vec<_>>(), 0.5)
    }

    /// False alarms an hour of normal video; nothing where there is none.
    pub fn false_alarm_rate(&self, seconds_per_frame: f64) -> Option<FalseAlarmRate> {
        let normal_minutes = self.normal_frames as f64 * seconds_per_frame / 60.0;
        false_alarm_rate(self.false_alarms.len(), normal_minutes)
    }
}

fn events_of(abnormal: &[bool], rule: EventRule) -> Vec<Range<usize>> {
    let mut events: Vec<Range<usize>> = Vec::new();
    for run in runs(abnormal) {
        match events.last_mut() {
            Some(last) if run.start - last.end <= rule.join_gap_frames => last.end = run.end,
            _ => events.push(run),
        }
    }
    events
}

/// The maximal runs of true.
fn runs(states: &[bool]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + states[at..].iter().position(|&on| on)?;
        let length = states[start..].iter().position(|&on| !on);
        at = length.map_or(states.len(), |length| start + length);
        Some(start..at)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn states(text: &str) -> Vec<bool> {
        text.bytes().map(|byte| byte == b'#').collect()
    }

    fn report(videos: &[[&str; 2]], rule: EventRule) -> EventReport {
        let videos: Vec<_> = videos.iter().map(|pair| pair.map(states)).collect();
        let videos: Vec<_> =
            videos.iter().map(|[abnormal, alarm]| AlarmedVideo { abnormal, alarm }).collect();
        event_report(&videos, rule).unwrap()
    }

    const STRICT: EventRule = EventRule { join_gap_frames: 0 };

    #[test]
    fn a_hand_counted_case() {
        let found = report(&[["..###...##....", ".#..##.....##."], ["....", "###."]], STRICT);
        let outcome = |first_frame, frames, detection| EventOutcome {
            video: 0,
            first_frame,
            frames,
            detection,
        };
        let late = Detection { delay_frames: 2, already_raised: false };
        assert_eq!(found.events, [outcome(2, 3, Some(late)), outcome(8, 2, None)]);
        // The run over frames 4 and 5 outlives its event by one frame.
        let false_alarm = |video, first_frame, frames| FalseAlarm { video, first_frame, frames };
        let expected = [false_alarm(0, 1, 1), false_alarm(0, 11, 2), false_alarm(1, 0, 3)];
        assert_eq!(found.false_alarms, expected);
        assert_eq!((found.false_alarm_frames, found.normal_frames), (1 + 1 + 2 + 3, 9 + 4));
        assert_eq!((found.found(), found.missed()), (1, 1));
        assert_eq!(found.median_delay_frames(), Some(2.0));
        // 13 normal frames of half a second: three false alarms in 6.5 s.
        let rate = found.false_alarm_rate(0.5).unwrap();
        assert!((rate.normal_minutes * 60.0 - 6.5).abs() < 1e-9, "{rate:?}");
        assert!((rate.an_hour - 3.0 * 3600.0 / 6.5).abs() < 1e-6, "{rate:?}");
    }

    #[test]
    fn an_alarm_that_stands_finds_events_and_says_that_it_stood() {
        let found = report(&[[".##.##.", "#######"]], STRICT);
        let stood = Some(Detection { delay_frames: 0, already_raised: true });
        assert!(found.events.iter().all(|event| event.detection == stood));
        assert_eq!((found.found(), found.missed()), (2, 0));
        assert_eq!((found.false_alarms.len(), found.false_alarm_frames), (0, 3));
        // Raised on the event's first frame is prompt, and not early.
        let prompt = report(&[["##.", "##."]], STRICT).events[0].detection.unwrap();
        assert_eq!(prompt, Detection { delay_frames: 0, already_raised: false });
    }

    #[test]
    fn gaps_up_to_the_rule_join_and_belong_to_the_event() {
        let videos = [["##..##...#", "..##......"]];
        assert_eq!((report(&videos, STRICT).found(), report(&videos, STRICT).missed()), (0, 3));
        assert_eq!(report(&videos, STRICT).false_alarms.len(), 1);
        let joined = report(&videos, EventRule { join_gap_frames: 2 });
        assert_eq!((joined.events.len(), joined.normal_frames), (2, 3));
        assert_eq!((joined.false_alarms.len(), joined.false_alarm_frames), (0, 0));
        assert_eq!(joined.events[0].detection.unwrap().delay_frames, 2);
    }

    #[test]
    fn lengths_that_differ_are_named() {
        let video = AlarmedVideo { abnormal: &[true], alarm: &[true, false] };
        let message = event_report(&[video], STRICT).unwrap_err().to_string();
        assert_eq!(message, "video 0 has 2 alarm states but 1 labels; one a frame is expected");
        assert_eq!(event_report(&[], STRICT).unwrap(), EventReport::default());
    }

    proptest! {
        #[test]
        fn every_raised_frame_is_counted_once(
            frames in proptest::collection::vec(any::<[bool; 2]>(), 0..80),
            join_gap_frames in 0usize..4,
        ) {
            let abnormal: Vec<bool> = frames.iter().map(|f| f[0]).collect();
            let alarm: Vec<bool> = frames.iter().map(|f| f[1]).collect();
            let video = AlarmedVideo { abnormal: &abnormal, alarm: &alarm };
            let report = event_report(&[video], EventRule { join_gap_frames }).unwrap();
            let in_events: usize = report.events.iter().map(|event| event.frames).sum();
            prop_assert_eq!(report.normal_frames + in_events, frames.len());
            let in_false: usize = report.false_alarms.iter().map(|alarm| alarm.frames).sum();
            prop_assert!(in_false <= report.false_alarm_frames);
            let raised = alarm.iter().filter(|&&on| on).count();
            prop_assert!(report.false_alarm_frames <= raised);
            if join_gap_frames == 0 {
                let wrong = frames.iter().filter(|f| !f[0] && f[1]).count();
                prop_assert_eq!(report.false_alarm_frames, wrong);
            }
        }
    }
}
