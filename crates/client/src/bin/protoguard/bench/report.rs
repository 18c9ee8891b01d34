//! What a load found, as it is written.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use protoguard_proto::v1::{self, Timings};
use serde::Serialize;

use super::arguments::{BenchArguments, View};
use super::ledger::{Answer, Outcome};
use super::payload;
use super::windows::{Span, Window};
use crate::arguments::PayloadKind;

/// An hour; no call may take longer than its deadline, and none that long is told from it.
const LONGEST_US: u64 = 3_600_000_000;

/// Everything about one load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) model: String,
    pub(crate) model_version: String,
    pub(crate) load: LoadDescription,
    /// Whether the last windows agreed; always for a fixed number of requests.
    pub(crate) stable: bool,
    pub(crate) windows: Vec<Window>,
    /// The windows that the figures below cover, as one.
    pub(crate) measured: Window,
    pub(crate) clips_per_second: f64,
    /// Clips scored within the deadline.
    pub(crate) goodput_per_second: f64,
    /// From when a clip was due to its scores.
    pub(crate) latency_ms: Option<Spread>,
    /// The server's own figures.
    pub(crate) queue_ms: Option<Spread>,
    pub(crate) decode_ms: Option<Spread>,
    pub(crate) compute_ms: Option<Spread>,
    pub(crate) mean_batch_size: Option<f64>,
    /// Of the whole run, warm-up included.
    pub(crate) sent: u64,
    /// As many as were sent, or something is wrong.
    pub(crate) answered: u64,
    /// Of the whole run.
    pub(crate) good: u64,
    /// Answers of the whole run by gRPC code.
    pub(crate) codes: BTreeMap<String, u64>,
    /// The first message of each code that is not OK.
    pub(crate) failures: BTreeMap<String, String>,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LoadDescription {
    /// `closed` or `open`.
    pub(crate) mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clients: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate_per_second: Option<f64>,
    pub(crate) connections: u16,
    pub(crate) deadline_ms: u64,
    pub(crate) payload: PayloadKind,
    pub(crate) clip_bytes: usize,
    pub(crate) view: View,
}

/// A distribution in milliseconds, to three significant digits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// Everything that a report is made of.
#[derive(Debug)]
pub(crate) struct Findings<'a> {
    pub(crate) model: &'a v1::Model,
    pub(crate) load: LoadDescription,
    pub(crate) stable: bool,
    pub(crate) windows: Vec<Window>,
    pub(crate) measured: Span,
    pub(crate) sent: u64,
    pub(crate) answers: &'a [Answer],
}

impl LoadDescription {
    pub(crate) fn new(arguments: &BenchArguments, requests: &[v1::ScoreClipRequest]) -> Self {
        let raw = if arguments.frames.is_some() { PayloadKind::Files } else { PayloadKind::Raw };
        Self {
            mode: if arguments.rate.is_some() { "open" } else { "closed" },
            clients: arguments.rate.is_none().then_some(arguments.clients),
            rate_per_second: arguments.rate,
            connections: arguments.connections,
            deadline_ms: arguments.server.deadline_ms,
            payload: arguments.payload.unwrap_or(raw),
            clip_bytes: payload::mean_bytes(requests),
            view: arguments.view,
        }
    }
}

impl Findings<'_> {
    pub(crate) fn report(self) -> Report {
        let measured = Window::measure(self.answers, self.measured);
        let timings: Vec<&Timings> =
            self.measured_answers().filter_map(|answer| answer.scored()).collect();
        let stage = |of: fn(&Timings) -> u64| spread(timings.iter().map(|timings| of(timings)));
        let waited = self.measured_answers().filter(|answer| answer.scored().is_some());
        let waited = waited.map(|answer| answer.done.duration_since(answer.due).as_micros() as u64);
        let batches = timings.iter().map(|t| f64::from(t.batch_size)).sum::<f64>();
        Report {
            model: self.model.name.clone(),
            model_version: self.model.version.clone(),
            latency_ms: spread(waited),
            queue_ms: stage(|timings| timings.queue_us),
            decode_ms: stage(|timings| timings.decode_us),
            compute_ms: stage(|timings| timings.compute_us),
            mean_batch_size: (!timings.is_empty()).then(|| batches / timings.len() as f64),
            sent: self.sent,
            answered: self.answers.len() as u64,
            good: self.answers.iter().filter(|answer| answer.is_good()).count() as u64,
            codes: codes(self.answers),
            failures: failures(self.answers),
            clips_per_second: measured.clips_per_second,
            goodput_per_second: measured.goodput_per_second,
            measured,
            load: self.load,
            stable: self.stable,
            windows: self.windows,
        }
    }

    /// What was answered in the measured time, and what was due in it and answered later: a server
    /// that stalls must not lose its slowest answers by being slow.
    fn measured_answers(&self) -> impl Iterator<Item = &Answer> {
        let Span { start, end } = self.measured;
        self.answers.iter().filter(move |answer| answer.done > start && answer.due <= end)
    }
}

fn codes(answers: &[Answer]) -> BTreeMap<String, u64> {
    let mut codes = BTreeMap::new();
    for answer in answers {
        let code = match &answer.outcome {
            Outcome::Scored { .. } => "OK",
            Outcome::Failed { code, .. } => code,
        };
        *codes.entry(code.to_owned()).or_default() += 1;
    }
    codes
}

fn failures(answers: &[Answer]) -> BTreeMap<String, String> {
    let mut failures = BTreeMap::new();
    for answer in answers {
        if let Outcome::Failed { code, message } = &answer.outcome {
            failures.entry(code.clone()).or_insert_with(|| message.clone());
        }
    }
    failures
}

/// The distribution of so many microseconds; none of nothing.
pub(crate) fn spread(microseconds: impl Iterator<Item = u64>) -> Option<Spread> {
    let mut histogram =
        Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are constants");
    microseconds.for_each(|value| histogram.saturating_record(value));
    let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
    (!histogram.is_empty()).then(|| Spread {
        min: histogram.min() as f64 / 1e3,
        mean: histogram.mean() / 1e3,
        p50: at(0.5),
        p90: at(0.9),
        p95: at(0.95),
        p99: at(0.99),
        p999: at(0.999),
        max: histogram.max() as f64 / 1e3,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_known_times() {
        let found = spread((1..=1000).map(|ms| ms * 1000)).unwrap();
        let near = |found: f64, expected: f64| (found - expected).abs() <= 0.001 * expected;
        assert!(near(found.p50, 500.0) && near(found.p99, 990.0), "{found:?}");
        assert!(near(found.mean, 500.5) && near(found.max, 1000.0), "{found:?}");
        assert_eq!(spread(std::iter::empty()), None);
        // The queue of an idle server holds a clip for no microsecond at all.
        assert_eq!(spread([0, 0].into_iter()).unwrap().max, 0.0);
    }
}
