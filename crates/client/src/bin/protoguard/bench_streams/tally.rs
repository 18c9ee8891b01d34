//! What became of frames and alarms.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protoguard_client::ClientError;
use protoguard_proto::v1;
use protoguard_proto::v1::{AlarmChange, FrameOutcome};
use serde::Serialize;

use super::arguments::{BenchStreamsArguments, Mode};
use crate::bench::report::{Spread, spread};

/// What was seen of one camera, or of several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    sent: BTreeSet<u64>,
    heard: BTreeSet<u64>,
    frames: u64,
    answers: u64,
    /// Frames that were never answered.
    lost: u64,
    pub(crate) misordered: u64,
    /// Streams that their server ended with a token.
    pub(crate) handovers: u64,
    outcomes: BTreeMap<String, u64>,
    answer_us: Vec<u64>,
    scored_us: Vec<u64>,
    bytes: usize,
    alarms: Alarms,
    failures: BTreeMap<String, String>,
}

/// The lives of alarms.
#[derive(Clone, Debug, Default, Serialize)]
struct Alarms {
    started: u64,
    ended: u64,
    /// Started twice, or while another stood.
    doubled: u64,
    /// Ended without a start, or never.
    lost: u64,
    #[serde(skip)]
    standing: BTreeSet<String>,
    #[serde(skip)]
    known: BTreeSet<String>,
}

impl Tally {
    pub(crate) fn sent(&mut self, id: u64, bytes: usize) {
        if self.sent.insert(id) {
            self.frames += 1;
            self.bytes += bytes;
        }
    }

    pub(crate) fn answered(&mut self, answer: &v1::FrameAnswer, took: Duration, bytes: usize) {
        self.answers += 1;
        // An answer too many is one out of order.
        self.misordered += u64::from(!self.heard.insert(answer.id));
        self.bytes += bytes;
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.answer_us.push(us);
        if answer.outcome() == FrameOutcome::Scored {
            self.scored_us.push(us);
        }
        let name = answer.outcome().as_str_name().trim_start_matches("FRAME_OUTCOME_");
        *self.outcomes.entry(name.to_lowercase()).or_default() += 1;
    }

    pub(crate) fn alarm(&mut self, event: &v1::AlarmEvent) {
        let alarms = &mut self.alarms;
        match event.change() {
            AlarmChange::Started => {
                alarms.started += 1;
                let is_new = alarms.known.insert(event.id.clone());
                alarms.doubled += u64::from(!is_new || !alarms.standing.is_empty());
                alarms.standing.insert(event.id.clone());
            }
            AlarmChange::Ended => {
                alarms.ended += 1;
                alarms.lost += u64::from(!alarms.standing.remove(&event.id));
            }
            AlarmChange::Updated | AlarmChange::Unspecified => {
                alarms.lost += u64::from(!alarms.standing.contains(&event.id));
            }
        }
    }

    pub(crate) fn failed(&mut self, error: &ClientError) {
        self.failures.entry(error.code_name()).or_insert_with(|| error.to_string());
    }

    /// No more comes of a camera of so many frames.
    pub(crate) fn finish(&mut self, frames: u64) {
        self.lost += frames.saturating_sub(self.heard.len() as u64);
        self.alarms.lost += self.alarms.standing.len() as u64;
        self.alarms.standing.clear();
    }

    /// Counts another camera in.
    pub(crate) fn add(&mut self, other: Self) {
        self.frames += other.frames;
        self.answers += other.answers;
        self.lost += other.lost;
        self.misordered += other.misordered;
        self.handovers += other.handovers;
        self.bytes += other.bytes;
        self.answer_us.extend(other.answer_us);
        self.scored_us.extend(other.scored_us);
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.alarms.started += other.alarms.started;
        self.alarms.ended += other.alarms.ended;
        self.alarms.doubled += other.alarms.doubled;
        self.alarms.lost += other.alarms.lost;
        self.failures.extend(other.failures);
    }
}

/// Everything about one run, as it is written.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    streams: u16,
    mode: Mode,
    interval_ms: u32,
    seconds: f64,
    sent: u64,
    answered: u64,
    /// Frames without an answer.
    lost: u64,
    misordered: u64,
    handovers: u64,
    /// Answers by what became of the frame.
    outcomes: BTreeMap<String, u64>,
    scored_per_second: f64,
    /// From sending to the answer, of every frame and of those that were scored.
    answer_ms: Option<Spread>,
    scored_ms: Option<Spread>,
    /// Of frames and answers, a scored frame.
    bytes_per_scored_frame: Option<f64>,
    /// Of a call of its own with the same pictures.
    bytes_per_call: usize,
    alarms: Alarms,
    /// The first message of each code with which a camera ended for good.
    failures: BTreeMap<String, String>,
}

impl Report {
    pub(crate) fn of(
        arguments: &BenchStreamsArguments,
        tally: &Tally,
        seconds: f64,
        bytes_per_call: usize,
    ) -> Self {
        let scored = tally.scored_us.len() as f64;
        Self {
            streams: arguments.streams,
            mode: arguments.mode,
            interval_ms: arguments.interval_ms,
            seconds,
            sent: tally.frames,
            answered: tally.answers,
            lost: tally.lost,
            misordered: tally.misordered,
            handovers: tally.handovers,
            outcomes: tally.outcomes.clone(),
            scored_per_second: scored / seconds,
            answer_ms: spread(tally.answer_us.iter().copied()),
            scored_ms: spread(tally.scored_us.iter().copied()),
            bytes_per_scored_frame: (scored > 0.0).then(|| tally.bytes as f64 / scored),
            bytes_per_call,
            alarms: tally.alarms.clone(),
            failures: tally.failures.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(change: AlarmChange, id: &str) -> v1::AlarmEvent {
        v1::AlarmEvent { change: change.into(), id: id.to_owned(), ..Default::default() }
    }

    #[test]
    fn an_alarm_that_is_told_twice_or_never_ends_is_counted() {
        let mut tally = Tally::default();
        for (change, id) in [
            (AlarmChange::Started, "a-1"),
            (AlarmChange::Updated, "a-1"),
            (AlarmChange::Ended, "a-1"),
            (AlarmChange::Started, "a-1"),
            (AlarmChange::Started, "b-1"),
            (AlarmChange::Ended, "c-9"),
        ] {
            tally.alarm(&event(change, id));
        }
        tally.finish(0);
        let Alarms { started, ended, doubled, lost, .. } = tally.alarms;
        // `a-1` again, `b-1` beside it; the end of `c-9`, and those two that never end.
        assert_eq!((started, ended, doubled, lost), (3, 2, 2, 3));
    }

    #[test]
    fn frames_that_are_not_answered_are_lost() {
        let mut tally = Tally::default();
        for id in [0, 1, 1, 2] {
            tally.sent(id, 10);
        }
        let outcome = FrameOutcome::Scored.into();
        let answer = v1::FrameAnswer { outcome, ..Default::default() };
        tally.answered(&answer, Duration::from_millis(3), 5);
        tally.finish(3);
        assert_eq!((tally.frames, tally.answers, tally.lost, tally.bytes), (3, 1, 2, 35));
        assert_eq!(tally.outcomes, BTreeMap::from([("scored".to_owned(), 1)]));
    }
}
