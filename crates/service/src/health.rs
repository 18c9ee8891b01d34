//! How the service is, told in `grpc.health.v1` and on the probes' port alike.
//!
//! | name | is SERVING |
//! |---|---|
//! | `""`, the services' names, `readiness` | when clips are answered: not while loading, draining or broken |
//! | `liveness` | unless a restart would help: a forward pass hangs, or a model was lost |

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Mutex, watch};
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, HealthService};

use protoguard_proto::v1::model_service_server::SERVICE_NAME as MODEL_SERVICE;
use protoguard_proto::v1::scoring_service_server::SERVICE_NAME as SCORING_SERVICE;
use tonic_health::pb::health_server::HealthServer;

/// What is reported as ready or not; the empty name is the server as a whole.
const READINESS: [&str; 4] = ["", SCORING_SERVICE, MODEL_SERVICE, "readiness"];
const LIVENESS: &str = "liveness";

/// Where a service is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Loading,
    Serving,
    Draining,
    /// A model was lost: the process is about to end.
    Failed,
}

/// All that health is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) phase: Phase,
    /// Forward passes that take longer than the watchdog allows.
    pub(crate) hanging: usize,
    /// Why the last reload of a model failed, by its place.
    pub(crate) failed_reloads: BTreeMap<String, String>,
}

impl Condition {
    pub(crate) fn is_ready(&self) -> bool {
        self.phase == Phase::Serving && self.hanging == 0
    }

    pub(crate) fn is_live(&self) -> bool {
        self.phase != Phase::Failed && self.hanging == 0
    }

    /// The condition in a few words.
    pub(crate) fn words(&self) -> String {
        let phase = match self.phase {
            Phase::Loading => "loading",
            Phase::Serving => "serving",
            Phase::Draining => "draining",
            Phase::Failed => "failed",
        };
        let mut words = phase.to_owned();
        if self.hanging > 0 {
            words += &format!("\n{} forward passes hang", self.hanging);
        }
        for (model, reason) in &self.failed_reloads {
            words += &format!("\nlast reload of {model} failed: {reason}");
        }
        words
    }
}

/// The one place where the condition changes; clones report together.
#[derive(Clone)]
pub(crate) struct Health {
    reporter: HealthReporter,
    condition: Arc<watch::Sender<Condition>>,
    /// Held while a change is reported, so that reports keep the order of changes.
    turn: Arc<Mutex<()>>,
}

impl Health {
    /// Not serving: tonic's reporter would begin as SERVING.
    pub(crate) async fn new() -> Self {
        let health = Self {
            reporter: HealthReporter::new(),
            condition: Arc::new(watch::Sender::new(Condition::default())),
            turn: Arc::default(),
        };
        health.change(|_| {}).await;
        health
    }

    pub(crate) fn condition(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// Changes the condition and reports what follows from it.
    pub(crate) async fn change(&self, change: impl FnOnce(&mut Condition)) {
        let _turn = self.turn.lock().await;
        self.condition.send_modify(change);
        let (ready, live) = {
            let condition = self.condition.borrow();
            (condition.is_ready(), condition.is_live())
        };
        for name in READINESS {
            self.reporter.set_service_status(name, status(ready)).await;
        }
        self.reporter.set_service_status(LIVENESS, status(live)).await;
    }

    /// Ends every Watch, which would otherwise hold its connection open for ever.
    pub(crate) async fn end_watches(&self) {
        let _turn = self.turn.lock().await;
        let mut reporter = self.reporter.clone();
        for name in READINESS.into_iter().chain([LIVENESS]) {
            reporter.clear_service_status(name).await;
        }
    }

    pub(crate) fn server(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }
}

fn status(good: bool) -> ServingStatus {
    if good { ServingStatus::Serving } else { ServingStatus::NotServing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_helps_against_what_hangs_and_not_against_what_loads() {
        let condition = |phase, hanging| Condition { phase, hanging, ..Condition::default() };
        let cases = [
            (condition(Phase::Loading, 0), [false, true]),
            (condition(Phase::Serving, 0), [true, true]),
            (condition(Phase::Serving, 1), [false, false]),
            (condition(Phase::Draining, 0), [false, true]),
            (condition(Phase::Failed, 0), [false, false]),
        ];
        for (condition, expected) in cases {
            assert_eq!([condition.is_ready(), condition.is_live()], expected, "{condition:?}");
        }
    }

    #[test]
    fn a_failed_reload_is_told_and_changes_nothing_else() {
        let failed_reloads = [("hall".to_owned(), "hash differs".to_owned())].into();
        let condition = Condition { phase: Phase::Serving, hanging: 0, failed_reloads };
        assert!(condition.is_ready());
        assert_eq!(condition.words(), "serving\nlast reload of hall failed: hash differs");
    }
}
