//! Names the forward pass that hangs.
//!
//! A thread in a forward pass cannot be ended, only the process can. So health turns to
//! NOT_SERVING, `liveness` included, for as long as the pass lasts, and the supervisor decides.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::health::Health;

/// Looks per limit: a hang is noticed at most a quarter of the limit late.
const LOOKS: u32 = 4;

/// What a worker's thread is computing, for others to see.
#[derive(Debug, Default)]
pub(crate) struct Pulse(Mutex<Option<Computing>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Computing {
    since: Instant,
    clips: usize,
    request_ids: String,
}

impl Pulse {
    /// A forward pass of these requests begins; it ends with the guard.
    pub(crate) fn begin<'a>(&self, request_ids: impl Iterator<Item = &'a str>) -> Beat<'_> {
        let ids: Vec<&str> = request_ids.collect();
        let clips = ids.len();
        let request_ids = ids.join(",");
        self.set(Some(Computing { since: Instant::now(), clips, request_ids }));
        Beat(self)
    }

    fn set(&self, computing: Option<Computing>) {
        // Whole values are exchanged, so a panic elsewhere spoils nothing.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = computing;
    }

    fn longer_than(&self, limit: Duration) -> Option<Computing> {
        let computing = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        computing.filter(|computing| computing.since.elapsed() >= limit)
    }
}

/// A forward pass that goes on.
pub(crate) struct Beat<'a>(&'a Pulse);

impl Drop for Beat<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

/// Watches the workers of one model.
pub(crate) struct Watchdog {
    pub(crate) model: String,
    pub(crate) limit: Duration,
    /// One a worker.
    pub(crate) pulses: Vec<Arc<Pulse>>,
    pub(crate) health: Health,
    pub(crate) closed: CancellationToken,
}

impl Watchdog {
    /// Watches until closed.
    pub(crate) async fn run(self) {
        let mut hanging = vec![false; self.pulses.len()];
        let mut ticks = interval((self.limit / LOOKS).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.closed.run_until_cancelled(ticks.tick()).await.is_some() {
            for (worker, hangs) in hanging.iter_mut().enumerate() {
                self.look(worker, hangs).await;
            }
        }
        // Another model has taken this one's place, or the service ends: passes that hang here no
        // longer count against health.
        let left = hanging.into_iter().filter(|&hangs| hangs).count();
        self.health.change(|condition| condition.hanging -= left).await;
    }

    async fn look(&self, worker: usize, hangs: &mut bool) {
        let found = self.pulses[worker].longer_than(self.limit);
        if found.is_some() == *hangs {
            return;
        }
        *hangs = found.is_some();
        let model = &self.model;
        if let Some(Computing { since, clips, request_ids }) = found {
            let seconds = since.elapsed().as_secs_f64();
            let limit = self.limit.as_secs_f64();
            error!(model, worker, clips, request_ids, seconds, limit, "forward pass hangs");
            self.health.change(|condition| condition.hanging += 1).await;
        } else {
            info!(model, worker, "forward pass ended after all");
            self.health.change(|condition| condition.hanging -= 1).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Phase;

    #[tokio::test(start_paused = true)]
    async fn a_long_pass_is_noticed_and_forgiven_when_it_ends() {
        let health = Health::new().await;
        health.change(|condition| condition.phase = Phase::Serving).await;
        let mut condition = health.condition();
        let pulse = Arc::new(Pulse::default());
        let closed = CancellationToken::new();
        let limit = Duration::from_secs(10);
        let pulses = vec![Arc::clone(&pulse), Arc::default()];
        let model = "hall".to_owned();
        let stop = closed.clone();
        let watchdog = tokio::spawn(Watchdog { model, limit, pulses, health, closed: stop }.run());

        let started = Instant::now();
        let beat = pulse.begin(["a", "b"].into_iter());
        condition.wait_for(|condition| condition.hanging == 1).await.unwrap();
        let noticed = started.elapsed();
        assert!(noticed >= limit && noticed <= limit * 5 / 4, "{noticed:?}");
        assert!(!condition.borrow().is_live());
        drop(beat);
        condition.wait_for(|condition| condition.hanging == 0).await.unwrap();
        assert!(condition.borrow().is_ready());

        let _beat = pulse.begin(["c"].into_iter());
        condition.wait_for(|condition| condition.hanging == 1).await.unwrap();
        closed.cancel();
        watchdog.await.unwrap();
        assert_eq!(condition.borrow().hanging, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn many_short_passes_are_no_long_one() {
        let pulse = Pulse::default();
        for _ in 0..10 {
            let _beat = pulse.begin(["a"].into_iter());
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(pulse.longer_than(Duration::from_secs(5)), None);
        }
    }
}
