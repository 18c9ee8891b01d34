//! When a failed call is worth another attempt.
//!
//! `UNAVAILABLE` always is: the server is loading, draining, or gone for a moment. So is a call
//! whose connection broke: scoring changes nothing on the server, and asking twice is safe.
//! `RESOURCE_EXHAUSTED` is where the server says when to come back (`RetryInfo`): a full queue
//! empties, but a message that is too large stays too large. Nothing else is.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::error::connection_lost;

/// Bounded exponential backoff with jitter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; 1 never tries again.
    pub max_attempts: u32,
    /// Backoff after the first attempt; each further one doubles it.
    pub initial_backoff: Duration,
    /// Where the doubling ends.
    pub max_backoff: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 6,
            initial_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(2),
        }
    }
}

impl RetryPolicy {
    /// How long to wait after `attempt` (from 1) failed with `status`, or nothing where another
    /// attempt is not worth it. `jitter` is uniform in [0, 1).
    ///
    /// Without `RetryInfo` the wait lies between half the backoff and all of it. With it, the wait
    /// is what the server asks for and up to one backoff more, so that the callers it turned away
    /// together do not come back together, and none comes back early.
    pub(crate) fn wait(&self, status: &Status, attempt: u32, jitter: f64) -> Option<Duration> {
        if attempt >= self.max_attempts {
            return None;
        }
        let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let backoff = self.backoff(attempt);
        match (status.code(), asked) {
            (Code::Unavailable | Code::ResourceExhausted, Some(asked)) => {
                Some(asked + backoff.mul_f64(jitter))
            }
            (code, _) if code == Code::Unavailable || connection_lost(status) => {
                Some(backoff.mul_f64(0.5 + 0.5 * jitter))
            }
            _ => None,
        }
    }

    fn backoff(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.initial_backoff.saturating_mul(1 << doublings).min(self.max_backoff)
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 10,
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
        }
    }

    #[test]
    fn backoff_doubles_up_to_its_bound() {
        let status = Status::unavailable("loading");
        let waits: Vec<u128> = (1..=6)
            .map(|attempt| policy().wait(&status, attempt, 1.0).unwrap().as_millis())
            .collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(policy().wait(&status, 1, 0.0), Some(Duration::from_millis(50)));
        assert_eq!(policy().wait(&status, 10, 0.0), None);
    }

    #[test]
    fn the_server_says_when_to_come_back() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(700)));
        let full = Status::with_error_details(Code::ResourceExhausted, "queue is full", details);
        assert_eq!(policy().wait(&full, 1, 0.0), Some(Duration::from_millis(700)));
        assert_eq!(policy().wait(&full, 1, 0.5), Some(Duration::from_millis(750)));
    }

    #[test]
    fn what_stays_wrong_is_not_tried_again() {
        let too_large = Status::resource_exhausted("message of 900 bytes; 800 are the limit");
        for status in [too_large, Status::invalid_argument("clip"), Status::internal("broken")] {
            assert_eq!(policy().wait(&status, 1, 0.5), None, "{status:?}");
        }
    }

    #[test]
    fn no_attempt_count_overflows() {
        let patient = RetryPolicy { max_attempts: u32::MAX, ..policy() };
        let wait = patient.wait(&Status::unavailable("loading"), u32::MAX - 1, 1.0);
        assert_eq!(wait, Some(Duration::from_secs(1)));
    }
}
