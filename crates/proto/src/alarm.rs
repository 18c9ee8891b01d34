//! A camera's alarms and states, to the wire.

use protoguard_core::{AlarmChange, AlarmEvent, AlarmFrame, AlarmRule, CameraState, Restart};

use crate::v1;

impl From<AlarmChange> for v1::AlarmChange {
    fn from(change: AlarmChange) -> Self {
        match change {
            AlarmChange::Started => Self::Started,
            AlarmChange::Updated => Self::Updated,
            AlarmChange::Ended => Self::Ended,
        }
    }
}

impl From<AlarmFrame> for v1::AlarmPeak {
    fn from(peak: AlarmFrame) -> Self {
        Self {
            capture_time_us: peak.at.0,
            smoothed_surprise: peak.surprise,
            region: peak.region.map(v1::Region::from),
            parts: peak.parts.into_iter().map(v1::PartSurprise::from).collect(),
        }
    }
}

/// What an event says by itself; whose it is and what it rests on is the service's to add.
impl From<AlarmEvent> for v1::AlarmEvent {
    fn from(event: AlarmEvent) -> Self {
        Self {
            change: v1::AlarmChange::from(event.change).into(),
            since_us: event.since.0,
            capture_time_us: event.at.0,
            peak: Some(event.peak.into()),
            ..Self::default()
        }
    }
}

/// A rule, every field stated; how often normal video raises it is not its own.
impl From<AlarmRule> for v1::AlarmOptions {
    fn from(rule: AlarmRule) -> Self {
        let count = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Self {
            false_alarms_an_hour: 0.0,
            unusual_frames: count(rule.unusual),
            among_frames: count(rule.among),
            hold_frames: Some(count(rule.hold)),
            cool_down_frames: Some(count(rule.cool_down)),
        }
    }
}

impl From<CameraState> for v1::CameraState {
    fn from(state: CameraState) -> Self {
        match state {
            CameraState::Frozen => Self::Frozen,
            CameraState::Dark => Self::Dark,
            CameraState::Bright => Self::Bright,
            CameraState::Covered => Self::Covered,
            CameraState::Blurred => Self::Blurred,
            CameraState::Moved => Self::Moved,
            CameraState::ColourLost => Self::ColourLost,
        }
    }
}

impl From<Restart> for v1::WindowRestart {
    fn from(restart: Restart) -> Self {
        match restart {
            Restart::Start => Self::Start,
            Restart::Gap => Self::Gap,
            Restart::Backwards => Self::Backwards,
            Restart::Size => Self::Size,
            Restart::Model => Self::Model,
            Restart::CameraState => Self::CameraState,
        }
    }
}
