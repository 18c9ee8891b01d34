//! When good requests failed or waited, what was done to the server then, and whether the machine
//! itself stood still.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::loads::LoadWindow;
use crate::results::median;

/// A window is slow where its mean latency is so many times that of the middle window.
const SLOW: f64 = 10.0;
/// A fault is named with what happens up to so many seconds after its end.
const AFTERMATH: f64 = 2.0;
/// As many are listed.
const MOST: usize = 50;
/// How often the machine is asked whether it still runs.
const TICK: Duration = Duration::from_millis(10);
/// A tick that is so late is a stall: two busy cores make it late by a few milliseconds.
const STALL: Duration = Duration::from_millis(200);

/// Something that lasted, in seconds since the load began.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Lasted {
    pub(super) what: &'static str,
    pub(super) from_s: f64,
    pub(super) to_s: f64,
}

impl Lasted {
    fn touches(&self, from_s: f64, to_s: f64) -> bool {
        self.from_s < to_s && from_s < self.to_s + AFTERMATH
    }
}

/// A window of the load in which requests failed or were slow.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Incident {
    from_s: f64,
    failed: u64,
    /// Of the scored clips.
    mean_ms: Option<f64>,
    /// Faults and stalls during it and a little before.
    during: Vec<Lasted>,
}

/// The windows that are incidents, in order.
pub(super) fn incidents(windows: &[LoadWindow], lasted: &[Lasted]) -> Vec<Incident> {
    let usual = median(windows.iter().filter_map(|window| window.mean_ms).collect());
    let slow = SLOW * usual.unwrap_or(f64::INFINITY);
    let mut from_s = 0.0;
    let mut incidents = Vec::new();
    for window in windows {
        let to_s = from_s + window.seconds;
        if window.failed > 0 || window.mean_ms.is_none_or(|mean| mean > slow) {
            let during = lasted.iter().filter(|lasted| lasted.touches(from_s, to_s)).copied();
            let (failed, mean_ms) = (window.failed, window.mean_ms);
            incidents.push(Incident { from_s, failed, mean_ms, during: during.collect() });
        }
        from_s = to_s;
    }
    incidents.truncate(MOST);
    incidents
}

/// Every time that this thread was kept from running, until `ended`.
pub(super) fn stalls(started: Instant, ended: &AtomicBool) -> Vec<Lasted> {
    let mut stalls = Vec::new();
    let mut before = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
        let now = Instant::now();
        if now.duration_since(before) > TICK + STALL {
            let seconds = |moment: Instant| moment.duration_since(started).as_secs_f64();
            stalls.push(Lasted { what: "stall", from_s: seconds(before), to_s: seconds(now) });
        }
        before = now;
    }
    stalls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(failed: u64, mean_ms: Option<f64>) -> LoadWindow {
        LoadWindow { seconds: 1.0, failed, mean_ms }
    }

    #[test]
    fn failed_slow_and_empty_windows_are_incidents_with_what_was_done_then() {
        let usual = window(0, Some(20.0));
        let windows = [usual, usual, window(3, Some(30.0)), usual, window(0, Some(300.0)), usual];
        let windows = [&windows[..], &[usual, usual, window(0, None)]].concat();
        let fault = |what, from_s, to_s| Lasted { what, from_s, to_s };
        let lasted = [fault("reload", 0.2, 0.4), fault("garbage", 2.5, 2.5)];
        let found = incidents(&windows, &lasted);
        let starts: Vec<f64> = found.iter().map(|incident| incident.from_s).collect();
        assert_eq!(starts, [2.0, 4.0, 8.0]);
        let during = |index: usize| -> Vec<&str> {
            found[index].during.iter().map(|lasted| lasted.what).collect()
        };
        assert_eq!(during(0), ["reload", "garbage"]);
        assert_eq!(during(1), ["garbage"]);
        assert!(during(2).is_empty());
        assert!(incidents(&[usual; 4], &lasted).is_empty());
    }

    #[test]
    fn a_watch_ends_when_it_is_told_to() {
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watch = scope.spawn(|| stalls(Instant::now(), &ended));
            std::thread::sleep(2 * TICK);
            ended.store(true, Ordering::Relaxed);
            watch.join().unwrap();
        });
    }
}
