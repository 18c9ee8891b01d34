//! A camera's alarms as events: what starts, grows and ends, and what it was when it was worst.

use serde::{Deserialize, Serialize};

use crate::alarm::{Alarm, AlarmMemory, AlarmRule};
use crate::capture::CaptureTime;
use crate::detector::PartSurprise;
use crate::region::Region;

/// An alarm is told again when its surprise has risen by so much: three times rarer.
const HIGHER: f64 = 0.5;

/// One scored frame of a camera.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmFrame {
    /// When it was taken.
    pub at: CaptureTime,
    /// Its smoothed surprise.
    pub surprise: f64,
    /// Where in the picture, if that is known.
    pub region: Option<Region>,
    /// Why.
    pub parts: Vec<PartSurprise>,
}

/// What happened to an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmChange {
    /// It was raised.
    Started,
    /// It is rarer than when it was last told.
    Updated,
    /// It ended.
    Ended,
}

/// One event of an alarm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AlarmEvent {
    /// What happened.
    pub change: AlarmChange,
    /// The alarm's number among those of its camera, counted from 1.
    pub number: u64,
    /// The frame at which it was raised.
    pub since: CaptureTime,
    /// The frame at which this happened.
    pub at: CaptureTime,
    /// The frame of the highest surprise since then.
    pub peak: AlarmFrame,
}

/// The alarms of one camera: of every alarm one start, updates, and one end.
#[derive(Clone, Debug)]
pub struct CameraAlarm {
    alarm: Alarm,
    /// How many alarms were raised.
    raised: u64,
    open: Option<OpenAlarm>,
}

/// An alarm that stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenAlarm {
    number: u64,
    since: CaptureTime,
    peak: AlarmFrame,
    /// The surprise that was last told.
    told: f64,
}

/// What a camera's alarms know of the frames before: enough to go on elsewhere, and to tell no
/// alarm twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraAlarmMemory {
    alarm: AlarmMemory,
    raised: u64,
    open: Option<OpenAlarm>,
}

impl CameraAlarm {
    /// The alarms of a camera that has shown nothing yet.
    pub fn new(rule: AlarmRule) -> Self {
        Self { alarm: rule.start(), raised: 0, open: None }
    }

    /// The alarms that go on from what another server, or another rule, knew.
    pub fn resume(rule: AlarmRule, memory: CameraAlarmMemory) -> Self {
        let CameraAlarmMemory { alarm, raised, open } = memory;
        Self { alarm: rule.resume(alarm), raised, open }
    }

    /// What another server needs to go on.
    pub fn memory(&self) -> CameraAlarmMemory {
        let alarm = self.alarm.memory().clone();
        CameraAlarmMemory { alarm, raised: self.raised, open: self.open.clone() }
    }

    /// Whether an alarm stands.
    pub fn stands(&self) -> bool {
        self.open.is_some()
    }

    /// Takes the next scored frame. Frames without a score change nothing.
    pub fn push(&mut self, frame: AlarmFrame) -> Option<AlarmEvent> {
        match (self.alarm.push(frame.surprise), &mut self.open) {
            (true, Some(open)) => open.rise(frame),
            (true, None) => {
                self.raised += 1;
                let (since, told) = (frame.at, frame.surprise);
                let open = OpenAlarm { number: self.raised, since, peak: frame, told };
                let event = open.event(AlarmChange::Started, since);
                self.open = Some(open);
                Some(event)
            }
            (false, Some(_)) => self.close(frame.at),
            (false, None) => None,
        }
    }

    /// Ends the alarm that stands, where the camera's frames end or stop following each other.
    pub fn end(&mut self, at: CaptureTime) -> Option<AlarmEvent> {
        self.alarm.end();
        self.close(at)
    }

    fn close(&mut self, at: CaptureTime) -> Option<AlarmEvent> {
        Some(self.open.take()?.event(AlarmChange::Ended, at))
    }
}

impl OpenAlarm {
    fn rise(&mut self, frame: AlarmFrame) -> Option<AlarmEvent> {
        let at = frame.at;
        if frame.surprise > self.peak.surprise {
            self.peak = frame;
        }
        if self.peak.surprise < self.told + HIGHER {
            return None;
        }
        self.told = self.peak.surprise;
        Some(self.event(AlarmChange::Updated, at))
    }

    fn event(&self, change: AlarmChange, at: CaptureTime) -> AlarmEvent {
        AlarmEvent { change, number: self.number, since: self.since, at, peak: self.peak.clone() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(index: usize, surprise: f64) -> AlarmFrame {
        AlarmFrame {
            at: CaptureTime(index as i64 * 100_000),
            surprise,
            region: None,
            parts: Vec::new(),
        }
    }

    fn rule() -> AlarmRule {
        AlarmRule { hold: 1, ..AlarmRule::above(2.0) }
    }

    #[test]
    fn an_alarm_starts_grows_and_ends_with_its_peak() {
        let mut camera = CameraAlarm::new(rule());
        let surprises = [0.1, 2.2, 2.3, 2.7, 2.9, 2.1, 1.0, 0.2, 0.1];
        let told: Vec<(usize, AlarmEvent)> = surprises
            .iter()
            .enumerate()
            .filter_map(|(index, &surprise)| Some((index, camera.push(frame(index, surprise))?)))
            .collect();
        let event = |change, index, peak| {
            let since = frame(2, 0.0).at;
            (index, AlarmEvent { change, number: 1, since, at: frame(index, 0.0).at, peak })
        };
        let expected = [
            event(AlarmChange::Started, 2, frame(2, 2.3)),
            event(AlarmChange::Updated, 4, frame(4, 2.9)),
            event(AlarmChange::Ended, 7, frame(4, 2.9)),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn an_alarm_that_stands_at_the_end_is_ended_once() {
        let mut camera = CameraAlarm::new(rule());
        assert_eq!(camera.end(CaptureTime(0)), None);
        camera.push(frame(0, 3.0));
        assert_eq!(camera.push(frame(1, 3.0)).unwrap().change, AlarmChange::Started);
        assert_eq!(camera.end(frame(1, 0.0).at).unwrap().change, AlarmChange::Ended);
        assert_eq!(camera.end(frame(1, 0.0).at), None);
        // What came before does not count towards the next.
        assert_eq!(camera.push(frame(9, 3.0)), None);
        assert_eq!(camera.push(frame(10, 3.0)).unwrap().since, frame(10, 0.0).at);
    }

    proptest! {
        /// Whatever the surprises are, and wherever one server hands over to another, every alarm
        /// has one start and one end, in this order, of one name, and none is told twice.
        #[test]
        fn an_alarm_lives_once(
            surprises in prop::collection::vec(0.0f64..4.0, 1..120),
            hold in 0usize..4,
            cool_down in 0usize..4,
            handed_over in prop::collection::vec(any::<bool>(), 120),
        ) {
            let rule = AlarmRule { clear: 1.5, hold, cool_down, ..AlarmRule::above(2.0) };
            let (mut one, mut many) = (CameraAlarm::new(rule), CameraAlarm::new(rule));
            let mut standing: Option<AlarmEvent> = None;
            let mut raised = 0;
            for (index, &surprise) in surprises.iter().enumerate() {
                if handed_over[index] {
                    let told = serde_json::to_vec(&many.memory()).unwrap();
                    many = CameraAlarm::resume(rule, serde_json::from_slice(&told).unwrap());
                }
                let event = one.push(frame(index, surprise));
                prop_assert_eq!(&event, &many.push(frame(index, surprise)));
                let Some(event) = event else { continue };
                prop_assert_eq!(event.change == AlarmChange::Started, standing.is_none());
                if let Some(before) = standing {
                    prop_assert_eq!((event.number, event.since), (before.number, before.since));
                    prop_assert!(event.peak.surprise >= before.peak.surprise);
                } else {
                    raised += 1;
                    prop_assert_eq!((event.number, event.since), (raised, event.at));
                }
                standing = (event.change != AlarmChange::Ended).then_some(event);
            }
        }
    }
}
