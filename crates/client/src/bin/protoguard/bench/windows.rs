//! When a measurement is worth believing: rate and latency of the last windows agree.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::ledger::Answer;

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: Instant,
    pub(crate) end: Instant,
}

/// What was answered in one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Window {
    pub(crate) seconds: f64,
    /// Clips that were scored.
    pub(crate) scored: u64,
    /// Of those, within the deadline.
    pub(crate) good: u64,
    /// Requests that failed.
    pub(crate) failed: u64,
    pub(crate) clips_per_second: f64,
    pub(crate) goodput_per_second: f64,
    /// Of the scored clips.
    pub(crate) mean_ms: Option<f64>,
}

impl Span {
    pub(crate) fn elapsed(self) -> Duration {
        self.end.duration_since(self.start)
    }

    fn holds(self, moment: Instant) -> bool {
        self.start < moment && moment <= self.end
    }

    /// The time that the answers of this span took: from the last answer before it to its last
    /// one. A batch is answered at once, and by the clock alone a window would count one batch
    /// more or less.
    fn answered_seconds(self, answers: &[Answer]) -> f64 {
        let scored = || answers.iter().filter(|answer| answer.scored().is_some());
        let last = |before: Instant| scored().map(|a| a.done).filter(|&done| done <= before).max();
        let from = last(self.start).unwrap_or(self.start);
        last(self.end).map_or(0.0, |to| to.saturating_duration_since(from).as_secs_f64())
    }
}

impl Window {
    pub(crate) fn measure(answers: &[Answer], span: Span) -> Self {
        let inside = || answers.iter().filter(|answer| span.holds(answer.done));
        let scored = inside().filter(|answer| answer.scored().is_some()).count() as u64;
        let good = inside().filter(|answer| answer.is_good()).count() as u64;
        let seconds = span.answered_seconds(answers);
        let rate = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let waited = inside()
            .filter(|answer| answer.scored().is_some())
            .map(|answer| answer.done.duration_since(answer.due).as_secs_f64() * 1e3);
        Self {
            seconds: span.elapsed().as_secs_f64(),
            scored,
            good,
            failed: inside().count() as u64 - scored,
            clips_per_second: rate(scored),
            goodput_per_second: rate(good),
            mean_ms: (scored > 0).then(|| waited.sum::<f64>() / scored as f64),
        }
    }
}

/// Whether rate and mean latency of the last `count` windows each lie within `tolerance` of their
/// mean. Windows in which nothing was scored agree with nothing.
pub(crate) fn stable(windows: &[Window], count: usize, tolerance: f64) -> bool {
    let Some(first) = windows.len().checked_sub(count) else { return false };
    let last = &windows[first..];
    let latencies: Vec<f64> = last.iter().filter_map(|window| window.mean_ms).collect();
    let rates: Vec<f64> = last.iter().map(|window| window.clips_per_second).collect();
    latencies.len() == count && agree(&rates, tolerance) && agree(&latencies, tolerance)
}

fn agree(values: &[f64], tolerance: f64) -> bool {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().all(|value| (value - mean).abs() <= tolerance * mean)
}

#[cfg(test)]
mod tests {
    use protoguard_proto::v1::Timings;

    use super::super::ledger::Outcome;
    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    fn scored(due: Instant, done: Instant, in_time: bool) -> Answer {
        Answer { due, done, outcome: Outcome::Scored { in_time, timings: Timings::default() } }
    }

    fn window(clips_per_second: f64, mean_ms: Option<f64>) -> Window {
        Window {
            seconds: 5.0,
            scored: 10,
            good: 10,
            failed: 0,
            clips_per_second,
            goodput_per_second: clips_per_second,
            mean_ms,
        }
    }

    #[test]
    fn batches_are_counted_whole() {
        // A batch of 4 every 400 ms is 10 a second, wherever the window cuts.
        let zero = Instant::now();
        let answers: Vec<Answer> =
            (1..=20).flat_map(|batch| vec![scored(zero, at(zero, batch * 400), true); 4]).collect();
        for offset in [900, 1000, 1150, 1300] {
            let span = Span { start: at(zero, offset), end: at(zero, offset + 5000) };
            let rate = Window::measure(&answers, span).clips_per_second;
            assert!((rate - 10.0).abs() < 1e-9, "{rate} from {offset} ms");
        }
    }

    #[test]
    fn good_late_and_failed_are_told_apart() {
        let zero = Instant::now();
        let failed = Outcome::Failed { code: "UNAVAILABLE".to_owned(), message: String::new() };
        let answers = [
            scored(zero, at(zero, 10), true),
            scored(at(zero, 10), at(zero, 40), false),
            Answer { due: zero, done: at(zero, 50), outcome: failed },
            scored(zero, at(zero, 150), true),
        ];
        let span = Span { start: zero, end: at(zero, 100) };
        let found = Window::measure(&answers, span);
        assert_eq!((found.scored, found.good, found.failed), (2, 1, 1));
        assert_eq!(found.mean_ms, Some(20.0));
        assert_eq!(found.clips_per_second, 2.0 / 0.04);
    }

    #[test]
    fn windows_agree_within_the_tolerance_and_only_the_last_count() {
        let mut windows = vec![window(1.0, Some(900.0)), window(95.0, Some(20.0))];
        assert!(!stable(&windows, 3, 0.1));
        windows.push(window(100.0, Some(21.0)));
        assert!(!stable(&windows, 3, 0.1));
        windows.push(window(105.0, Some(22.0)));
        assert!(stable(&windows, 3, 0.1));
        windows.push(window(105.0, Some(30.0)));
        assert!(!stable(&windows, 3, 0.1), "a latency that grows");
        assert!(!stable(&[window(0.0, None)], 1, 0.1), "nothing was scored");
    }
}
