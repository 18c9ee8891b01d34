//! A served model: its queue and its workers, from the start to the end.

use std::sync::Arc;

use protoguard_core::{Calibration, ModelCard};
use tokio::sync::{mpsc, watch};
use tokio::time::{Duration, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::ModelError;
use super::source::{ModelSpec, Slot};
use crate::config::ServiceConfig;
use crate::health::Health;
use crate::metrics::{Metrics, ModelMetrics};
use crate::queue::admission::Admission;
use crate::queue::batcher::{Batcher, ModelState, Restarts};
use crate::queue::dispatcher::Dispatcher;
use crate::queue::estimate::Pace;
use crate::queue::intake::Intake;
use crate::worker::crew::Crew;
use crate::worker::turns::Turns;
use crate::worker::watchdog::{Pulse, Watchdog};

/// What every model of a service is started with.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) config: Arc<ServiceConfig>,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    /// Of all models, which share devices.
    pub(crate) turns: Arc<Turns>,
}

/// A served model.
pub(crate) struct Model {
    slot: Slot,
    card: ModelCard,
    intake: Intake,
    /// The batcher, the watchdog and one watcher a worker thread.
    tasks: TaskTracker,
}

impl Drop for Model {
    /// A candidate that was given up leaves no thread behind.
    fn drop(&mut self) {
        self.intake.closed.cancel();
    }
}

/// A calibration that has thresholds, but none for this rate, would leave every verdict open. One
/// of an early checkpoint that has none at all is served without verdicts.
fn check_thresholds(slot: &Slot, card: &ModelCard, rate: f64) -> Result<(), ModelError> {
    let silent = |of: &&Calibration| !of.thresholds.is_empty() && !of.can_alarm(rate);
    match card.calibrations.iter().find(silent) {
        None => Ok(()),
        Some(of) => Err(ModelError::NoThreshold {
            rate,
            model: slot.to_string(),
            id: of.id.clone(),
            known: of.thresholds.iter().map(|threshold| threshold.false_alarm_rate).collect(),
        }),
    }
}

/// A model that says too little for a camera's stream is served all the same.
fn warn_of_what_streams_lack(slot: &Slot, card: &ModelCard) {
    let lacks = |of: fn(&Calibration) -> bool| card.calibrations.iter().all(|found| !of(found));
    let counted = |of: &Calibration| of.detector.as_ref().is_some_and(|it| it.alarms.is_some());
    let found = [
        (card.frame_interval.is_none(), "the interval between frames: every frame is the next"),
        (lacks(|of| of.detector.is_some()), "a detector: no alarm is raised"),
        (lacks(counted), "counted alarms: a stream's alarm cannot be set by the hour"),
        (lacks(|of| of.camera.is_some()), "how the camera looks: its states are not told"),
    ];
    for (_, lack) in found.into_iter().filter(|(is_lacking, _)| *is_lacking) {
        tracing::warn!(model = %slot, "streams: the checkpoint lacks {lack}");
    }
}

impl Model {
    /// Starts the batcher and the workers; the model is loading until all are warm.
    pub(crate) fn start(
        slot: Slot,
        spec: ModelSpec,
        around: &Surroundings,
    ) -> Result<Self, ModelError> {
        let Some(first) = spec.replicas.first() else {
            return Err(ModelError::NoReplica);
        };
        let card = first.card().clone();
        let config = &around.config;
        check_thresholds(&slot, &card, config.false_alarm_rate)?;
        warn_of_what_streams_lack(&slot, &card);
        let (events, inbox) = mpsc::unbounded_channel();
        let (state_sender, state) = watch::channel(ModelState::Loading);
        let intake = Intake {
            model: slot.to_string(),
            admission: Admission::new(config.admission),
            pace: Arc::new(Pace::new(spec.replicas.len(), config.batch.max_batch_size)),
            events,
            state,
            closed: CancellationToken::new(),
            metrics: ModelMetrics::new(&around.metrics, &slot.name),
        };
        let model = Self { slot, card, intake, tasks: TaskTracker::new() };
        let (crew, workers) = model.crew(spec, around).start()?;
        model.watch(crew.pulses(), around);
        let batcher = Batcher {
            model: model.intake.model.clone(),
            dispatcher: Dispatcher::new(config.batch, workers.len()),
            restarts: Restarts::new(workers.len(), crew.restart()),
            workers,
            events: inbox,
            state: state_sender,
            closed: model.intake.closed.clone(),
        };
        model.tasks.spawn(batcher.run());
        Ok(model)
    }

    fn crew(&self, spec: ModelSpec, around: &Surroundings) -> Crew {
        Crew {
            model: self.intake.model.clone(),
            factories: spec.replicas,
            events: self.intake.events.clone(),
            warm_up_batch_sizes: around.config.warm_up_batch_sizes.clone(),
            fit_batch_size: around.config.fit_batch_size,
            pace: Arc::clone(&self.intake.pace),
            turns: Arc::clone(&around.turns),
            metrics: self.intake.metrics.clone(),
            tasks: self.tasks.clone(),
            posts: Vec::new(),
        }
    }

    /// Has the workers' forward passes watched, where that is wanted.
    fn watch(&self, pulses: Vec<Arc<Pulse>>, around: &Surroundings) {
        let Some(limit) = around.config.watchdog else { return };
        let watchdog = Watchdog {
            model: self.intake.model.clone(),
            limit,
            pulses,
            health: around.health.clone(),
            closed: self.intake.closed.clone(),
        };
        self.tasks.spawn(watchdog.run());
    }

    pub(crate) fn slot(&self) -> &Slot {
        &self.slot
    }

    pub(crate) fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Where its clips come in.
    pub(crate) fn intake(&self) -> &Intake {
        &self.intake
    }

    pub(crate) fn metrics(&self) -> &ModelMetrics {
        &self.intake.metrics
    }

    /// Waits until every worker is warm.
    pub(crate) async fn ready(&self) -> Result<(), ModelError> {
        let mut state = self.intake.state.clone();
        let reached = state.wait_for(|state| *state != ModelState::Loading).await;
        match reached.as_deref() {
            Ok(ModelState::Lost(source)) => {
                Err(ModelError::Lost { model: self.intake.model.clone(), source: source.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Waits until a worker is lost for good; nothing where the model is closed before.
    pub(crate) fn lost(&self) -> impl Future<Output = Option<ModelError>> + Send + use<> {
        let mut state = self.intake.state.clone();
        let model = self.intake.model.clone();
        async move {
            let is_lost = |state: &ModelState| matches!(state, ModelState::Lost(_));
            match state.wait_for(is_lost).await.as_deref() {
                Ok(ModelState::Lost(source)) => {
                    Some(ModelError::Lost { model, source: source.clone() })
                }
                _ => None,
            }
        }
    }

    /// Admits nothing more, answers what was admitted within `patience`, and ends.
    pub(crate) async fn retire(&self, patience: Duration) {
        let answered = timeout(patience, self.intake.admission.close()).await.is_ok();
        let ended = self.close(patience).await;
        tracing::info!(model = %self.slot, version = self.card.version, answered, ended, "retired");
    }

    /// Answers what still waits with UNAVAILABLE and ends the workers, waiting for them no longer
    /// than `patience`. Says whether all ended.
    pub(crate) async fn close(&self, patience: Duration) -> bool {
        self.intake.closed.cancel();
        self.tasks.close();
        timeout(patience, self.tasks.wait()).await.is_ok()
    }
}
