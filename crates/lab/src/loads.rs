//! What the programs report, as far as it is used here.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The report of `protoguard bench`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct LoadReport {
    pub(super) stable: bool,
    pub(super) clips_per_second: f64,
    pub(super) goodput_per_second: f64,
    pub(super) latency_ms: Option<Spread>,
    pub(super) queue_ms: Option<Spread>,
    pub(super) mean_batch_size: Option<f64>,
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) good: u64,
    pub(super) codes: BTreeMap<String, u64>,
    pub(super) failures: BTreeMap<String, String>,
    #[serde(default, skip_serializing)]
    pub(super) windows: Vec<LoadWindow>,
}

/// The report of `protoguard bench-streams`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct StreamReport {
    pub(super) seconds: f64,
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) lost: u64,
    pub(super) misordered: u64,
    pub(super) handovers: u64,
    pub(super) outcomes: BTreeMap<String, u64>,
    pub(super) scored_per_second: f64,
    pub(super) scored_ms: Option<Spread>,
    pub(super) bytes_per_scored_frame: Option<f64>,
    pub(super) bytes_per_call: f64,
    pub(super) alarms: AlarmLives,
    pub(super) failures: BTreeMap<String, String>,
}

/// What became of alarms.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct AlarmLives {
    pub(super) started: u64,
    pub(super) doubled: u64,
    pub(super) lost: u64,
}

impl StreamReport {
    /// From sending to the answer, of scored frames.
    ///
    /// # Errors
    /// When none was scored.
    pub(super) fn scored(&self) -> Result<Spread> {
        self.scored_ms.with_context(|| format!("no frame was scored: {:?}", self.failures))
    }

    /// Frames of which this became.
    pub(super) fn frames(&self, outcome: &str) -> u64 {
        self.outcomes.get(outcome).copied().unwrap_or_default()
    }
}

/// A stretch of the load; the first begins when it does, each other where the last ends.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct LoadWindow {
    pub(super) seconds: f64,
    pub(super) failed: u64,
    /// Of the scored clips.
    pub(super) mean_ms: Option<f64>,
}

/// A distribution in milliseconds.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Spread {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

/// The report of `protoguard-server bare`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Bare {
    /// What the device can compute.
    pub(super) precisions: Vec<String>,
    pub(super) best_clips_per_second: f64,
    pub(super) scores: Vec<BareBatch>,
    /// With every picture; empty where they were left out.
    #[serde(default)]
    pub(super) full: Vec<BareBatch>,
}

/// One batch size.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct BareBatch {
    pub(super) batch_size: u32,
    pub(super) median_ms: f64,
    pub(super) clips_per_second: f64,
}

impl LoadReport {
    /// Latency of the scored clips.
    ///
    /// # Errors
    /// When none was scored.
    pub(super) fn latency(&self) -> Result<Spread> {
        self.latency_ms.with_context(|| format!("no clip was scored: {:?}", self.failures))
    }

    /// The server's queue time of the scored clips.
    ///
    /// # Errors
    /// When none was scored.
    pub(super) fn queue(&self) -> Result<Spread> {
        self.queue_ms.with_context(|| format!("no clip was scored: {:?}", self.failures))
    }

    /// Requests that ended otherwise than with one of `expected`.
    pub(super) fn other_than(&self, expected: &[&str]) -> u64 {
        let other = self.codes.iter().filter(|(code, _)| !expected.contains(&code.as_str()));
        other.map(|(_, count)| count).sum()
    }
}

impl Bare {
    /// The forward pass of a lone clip.
    ///
    /// # Errors
    /// When it was not measured.
    pub(super) fn lone(&self) -> Result<BareBatch> {
        let lone = self.scores.iter().find(|batch| batch.batch_size == 1);
        lone.copied().context("a batch of 1 was not measured")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_were_not_expected_are_counted() {
        let report = LoadReport {
            codes: [("OK", 3), ("UNAVAILABLE", 2), ("INTERNAL", 1)]
                .map(|(code, count)| (code.to_owned(), count))
                .into(),
            ..LoadReport::default()
        };
        assert_eq!(report.other_than(&["OK", "UNAVAILABLE"]), 1);
        assert_eq!(report.other_than(&["OK"]), 3);
        assert!(report.latency().is_err());
    }
}
