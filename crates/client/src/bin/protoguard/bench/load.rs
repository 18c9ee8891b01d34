//! Callers in a closed loop, or arrivals in an open one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use protoguard_client::Client;
use protoguard_proto::v1;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::ledger::{Answer, Ledger, Outcome};

/// Requests in flight that an open loop may pile up on a server that does not keep up.
const MAX_IN_FLIGHT: u64 = 100_000;

/// A refused caller of the closed loop waits this long, as a caller would, in place of asking
/// again thousands of times a second.
const AFTER_A_FAILURE: Duration = Duration::from_millis(10);

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Arrivals {
    /// Each caller waits for its answer.
    Closed { callers: usize },
    /// At random times, so many a second on average, whatever the answers do.
    Poisson { per_second: f64, seed: u64 },
}

/// What is sent, and where to.
#[derive(Debug)]
pub(crate) struct Target {
    /// One a connection.
    pub(crate) clients: Vec<Client>,
    pub(crate) requests: Vec<v1::ScoreClipRequest>,
    pub(crate) deadline: Duration,
    /// Sends no more than so many.
    pub(crate) limit: u64,
}

/// A load that is being sent until it is stopped.
#[derive(Debug)]
pub(crate) struct Load {
    sender: Arc<Sender>,
    /// The open loop's clock; it says by its end that nothing more is sent.
    clock: Option<(thread::Thread, oneshot::Receiver<()>)>,
    callers: tokio::task::JoinSet<()>,
}

#[derive(Debug)]
struct Sender {
    target: Target,
    ledger: Ledger,
    turns: AtomicUsize,
    stopped: AtomicBool,
    piled_up: AtomicBool,
}

impl Load {
    /// Begins to send.
    ///
    /// # Errors
    /// When the clock's thread cannot be started.
    pub(crate) fn start(target: Target, arrivals: Arrivals) -> anyhow::Result<Self> {
        let sender = Arc::new(Sender {
            target,
            ledger: Ledger::default(),
            turns: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            piled_up: AtomicBool::new(false),
        });
        let mut load = Self { sender, clock: None, callers: tokio::task::JoinSet::new() };
        match arrivals {
            Arrivals::Closed { callers } => {
                for _ in 0..callers {
                    load.callers.spawn(Arc::clone(&load.sender).call_in_turn());
                }
            }
            Arrivals::Poisson { per_second, seed } => {
                let (ended, end) = oneshot::channel();
                let (sender, handle) = (Arc::clone(&load.sender), Handle::current());
                let clock = move || {
                    sender.arrive(per_second, seed, &handle);
                    // Nobody waits for a load that was dropped.
                    let _ = ended.send(());
                };
                let clock = thread::Builder::new().name("arrivals".to_owned()).spawn(clock);
                let clock = clock.context("the clock of the open loop cannot be started")?;
                load.clock = Some((clock.thread().clone(), end));
            }
        }
        Ok(load)
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.sender.ledger
    }

    /// Sends nothing more and waits for every answer, which the deadline bounds.
    ///
    /// # Errors
    /// When the server kept up so little that the load gave up.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        self.sender.stopped.store(true, Ordering::SeqCst);
        if let Some((clock, end)) = self.clock.take() {
            clock.unpark();
            end.await.context("the clock of the open loop ended early")?;
        }
        while let Some(caller) = self.callers.join_next().await {
            caller.context("a caller ended early")?;
        }
        self.ledger().settled().await;
        anyhow::ensure!(
            !self.sender.piled_up.load(Ordering::SeqCst),
            "{MAX_IN_FLIGHT} requests are in flight; a lower --rate or --deadline-ms is expected"
        );
        Ok(())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.sender.stopped.store(true, Ordering::SeqCst);
        if let Some((clock, _)) = &self.clock {
            clock.unpark();
        }
    }
}

impl Sender {
    /// The closed loop of one caller.
    async fn call_in_turn(self: Arc<Self>) {
        while let Some(turn) = self.next_turn() {
            if !self.call(turn, Instant::now()).await {
                tokio::time::sleep(AFTER_A_FAILURE).await;
            }
        }
    }

    /// The open loop. On a thread of its own, because the runtime's timers tick in milliseconds
    /// and its threads may be busy with answers.
    fn arrive(self: &Arc<Self>, per_second: f64, seed: u64, runtime: &Handle) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut due = Instant::now();
        loop {
            due += Duration::from_secs_f64(gap(per_second, random.f64()));
            while let Some(wait) = due.checked_duration_since(Instant::now()) {
                if wait.is_zero() || self.stopped.load(Ordering::SeqCst) {
                    break;
                }
                thread::park_timeout(wait);
            }
            if self.ledger.in_flight() >= MAX_IN_FLIGHT {
                self.piled_up.store(true, Ordering::SeqCst);
                return;
            }
            let Some(turn) = self.next_turn() else { return };
            let sender = Arc::clone(self);
            runtime.spawn(async move { sender.call(turn, due).await });
        }
    }

    /// Counts the next request out, unless nothing more is to be sent.
    fn next_turn(&self) -> Option<usize> {
        let turn = self.turns.fetch_add(1, Ordering::SeqCst);
        if self.stopped.load(Ordering::SeqCst) || turn as u64 >= self.target.limit {
            return None;
        }
        self.ledger.send();
        Some(turn)
    }

    /// Sends one request and records its answer; says whether it was scored.
    async fn call(&self, turn: usize, due: Instant) -> bool {
        let Target { clients, requests, deadline, .. } = &self.target;
        let request = requests[turn % requests.len()].clone();
        let answer = clients[turn % clients.len()].score_clip(request).await;
        let done = Instant::now();
        let outcome = match answer {
            Ok(response) => Outcome::Scored {
                in_time: done.duration_since(due) <= *deadline,
                timings: response.timings.unwrap_or_default(),
            },
            Err(error) => Outcome::Failed { code: error.code_name(), message: error.to_string() },
        };
        let scored = matches!(outcome, Outcome::Scored { .. });
        self.ledger.record(Answer { due, done, outcome });
        scored
    }
}

/// Seconds to the next arrival of a Poisson process, for a number uniform in [0, 1).
fn gap(per_second: f64, uniform: f64) -> f64 {
    -(1.0 - uniform).ln() / per_second
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_exponential() {
        let mut random = fastrand::Rng::with_seed(7);
        let gaps: Vec<f64> = (0..100_000).map(|_| gap(50.0, random.f64())).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 0.02).abs() < 0.0003, "{mean}");
        // The standard deviation of an exponential distribution is its mean.
        assert!((variance.sqrt() - mean).abs() < 0.0005, "{}", variance.sqrt());
        assert_eq!(gap(50.0, 0.0), 0.0);
    }
}
