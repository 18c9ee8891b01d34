//! A served model: its queue, its batcher and its workers.

use std::sync::Arc;

use protoguard_core::{Calibration, ModelCard, ScorerInput};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Duration, Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::ServiceConfig;
use crate::error::{ServiceError, Unavailable};
use crate::health::Health;
use crate::metrics::{Gauged, Metrics, ModelMetrics};
use crate::queue::admission::{Admission, Arrival, Permit, Refusal};
use crate::queue::batcher::{Batcher, Event, ModelState, Restarts};
use crate::queue::dispatcher::Dispatcher;
use crate::queue::estimate::Pace;
use crate::queue::fair_queue::CallerId;
use crate::queue::job::{Job, Scored, Ticket};
use crate::registry::error::ModelError;
use crate::registry::source::{ModelSpec, Slot};
use crate::worker::crew::Crew;
use crate::worker::turns::Turns;
use crate::worker::watchdog::Watchdog;

/// What every model of a service is started with.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) config: Arc<ServiceConfig>,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    /// Of all models, which share devices.
    pub(crate) turns: Arc<Turns>,
}

/// A served model: its queue, its batcher and its workers.
pub(crate) struct Model {
    slot: Slot,
    card: ModelCard,
    admission: Arc<Admission>,
    pace: Arc<Pace>,
    events: mpsc::UnboundedSender<Event>,
    state: watch::Receiver<ModelState>,
    closed: CancellationToken,
    /// The batcher, the watchdog and one watcher a worker thread.
    tasks: TaskTracker,
    metrics: ModelMetrics,
}

/// Why a clip is not admitted.
pub(crate) enum NotAdmitted {
    /// Another model stands in this one's place: it is to be asked.
    Replaced,
    Refused(ServiceError),
}

/// A clip that was admitted and is now being decoded.
pub(crate) struct Admitted {
    permit: Permit,
    arrival: Arrival,
    given_up: GivenUp,
    in_flight: Gauged,
}

/// What goes into the queue beside the permit.
pub(crate) struct QueuedClip {
    pub(crate) input: ScorerInput,
    pub(crate) deadline: Option<Instant>,
    pub(crate) caller: CallerId,
    pub(crate) request_id: String,
}

/// Tells the batcher when a request ends before its answer, so that its clip makes room at once.
struct GivenUp {
    events: mpsc::UnboundedSender<Event>,
    metrics: ModelMetrics,
    deadline: Option<Instant>,
    step: Step,
}

/// How far an admitted clip has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Decoding,
    /// It cannot be decoded.
    Refused,
    /// The queue accounts for it.
    Queued,
    Answered,
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        match self.step {
            Step::Answered => return,
            Step::Decoding if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                self.metrics.expired();
            }
            Step::Decoding => self.metrics.cancelled(),
            Step::Queued | Step::Refused => {}
        }
        // The batcher has ended only when the service has.
        let _ = self.events.send(Event::GivenUp);
    }
}

impl Admitted {
    /// The clip turned out to be none.
    pub(crate) fn refuse(mut self) {
        self.given_up.step = Step::Refused;
    }
}

impl Drop for Model {
    /// A candidate that was given up leaves no thread behind.
    fn drop(&mut self) {
        self.closed.cancel();
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
        let metrics = ModelMetrics::new(&around.metrics, &slot.name);
        let admission = Admission::new(config.admission);
        let (events, inbox) = mpsc::unbounded_channel();
        let (state_sender, state) = watch::channel(ModelState::Loading);
        let (closed, tasks) = (CancellationToken::new(), TaskTracker::new());
        let pace = Arc::new(Pace::new(spec.replicas.len(), config.batch.max_batch_size));
        let (crew, workers) = Crew {
            model: slot.to_string(),
            factories: spec.replicas,
            events: events.clone(),
            warm_up_batch_sizes: config.warm_up_batch_sizes.clone(),
            fit_batch_size: config.fit_batch_size,
            pace: Arc::clone(&pace),
            turns: Arc::clone(&around.turns),
            metrics: metrics.clone(),
            tasks: tasks.clone(),
            posts: Vec::new(),
        }
        .start()?;
        if let Some(limit) = config.watchdog {
            let (model, health) = (slot.to_string(), around.health.clone());
            let (pulses, closed) = (crew.pulses(), closed.clone());
            tasks.spawn(Watchdog { model, limit, pulses, health, closed }.run());
        }
        let batcher = Batcher {
            model: slot.to_string(),
            dispatcher: Dispatcher::new(config.batch, workers.len()),
            restarts: Restarts::new(workers.len(), crew.restart()),
            workers,
            events: inbox,
            admission: Arc::clone(&admission),
            state: state_sender,
            closed: closed.clone(),
        };
        tasks.spawn(batcher.run());
        Ok(Self { slot, card, admission, pace, events, state, closed, tasks, metrics })
    }

    pub(crate) fn slot(&self) -> &Slot {
        &self.slot
    }

    pub(crate) fn card(&self) -> &ModelCard {
        &self.card
    }

    pub(crate) fn metrics(&self) -> &ModelMetrics {
        &self.metrics
    }

    /// Whether the clips ahead of this caller's next would make it too late. They are those that
    /// were admitted, at their best pace, so that nobody is sent away who could be answered.
    pub(crate) fn is_too_late(&self, caller: CallerId, deadline: Option<Instant>) -> bool {
        let wait = || self.pace.until_answered(self.admission.ahead_of(caller));
        deadline.is_some_and(|deadline| deadline < Instant::now() + wait())
    }

    /// Takes room for a clip before anything is decoded.
    pub(crate) fn admit(
        &self,
        bytes: usize,
        caller: CallerId,
        deadline: Option<Instant>,
    ) -> Result<Admitted, NotAdmitted> {
        match *self.state.borrow() {
            ModelState::Loading => return Err(self.refusal(Unavailable::Loading)),
            ModelState::Lost(_) => return Err(self.refusal(Unavailable::NoWorker)),
            ModelState::Ready => {}
        }
        if self.is_too_late(caller, deadline) {
            return Err(NotAdmitted::Refused(self.too_late()));
        }
        let permit = self.admission.admit(caller, bytes).map_err(|refusal| match refusal {
            Refusal::Closed => NotAdmitted::Replaced,
            Refusal::Overloaded(full) => NotAdmitted::Refused(ServiceError::Overloaded {
                model: self.slot.to_string(),
                unit: full.unit,
                in_use: full.in_use,
                limit: full.limit,
            }),
        })?;
        let (events, metrics) = (self.events.clone(), self.metrics.clone());
        let given_up = GivenUp { events, metrics, deadline, step: Step::Decoding };
        let (arrival, in_flight) = (self.admission.arrival(), self.metrics.admitted());
        Ok(Admitted { permit, arrival, given_up, in_flight })
    }

    /// Counts and names a clip that would be too late.
    pub(crate) fn too_late(&self) -> ServiceError {
        self.metrics.expired();
        ServiceError::DeadlineExceeded { at: "before the queue: its wait would end after it" }
    }

    fn refusal(&self, why: Unavailable) -> NotAdmitted {
        NotAdmitted::Refused(self.unavailable(why))
    }

    fn unavailable(&self, why: Unavailable) -> ServiceError {
        ServiceError::Unavailable { model: self.slot.to_string(), why }
    }

    /// Queues a decoded clip and waits for its scores.
    pub(crate) async fn score(
        &self,
        admitted: Admitted,
        clip: QueuedClip,
    ) -> Result<Scored, ServiceError> {
        let Admitted { permit, arrival, mut given_up, in_flight: _in_flight } = admitted;
        let (reply, answer) = oneshot::channel();
        let ticket = Ticket {
            reply,
            deadline: clip.deadline,
            enqueued_at: Instant::now(),
            waiting: Some(self.metrics.waiting(permit.bytes())),
            permit,
            span: tracing::Span::current(),
            request_id: clip.request_id,
            caller: clip.caller,
            metrics: self.metrics.clone(),
        };
        let gone = || {
            let draining = self.closed.is_cancelled();
            self.unavailable(if draining { Unavailable::Draining } else { Unavailable::NoWorker })
        };
        // Counted out first, so that the batcher never waits for the clip that it is given.
        drop(arrival);
        let job = Box::new(Job { input: clip.input, ticket });
        given_up.step = Step::Queued;
        self.events.send(Event::Enqueue(job)).map_err(|_| gone())?;
        let answer = answer.await.map_err(|_| gone())?;
        given_up.step = Step::Answered;
        answer
    }

    /// Waits until every worker is warm.
    pub(crate) async fn ready(&self) -> Result<(), ModelError> {
        let mut state = self.state.clone();
        let reached = state.wait_for(|state| *state != ModelState::Loading).await;
        match reached.as_deref() {
            Ok(ModelState::Lost(source)) => {
                Err(ModelError::Lost { model: self.slot.to_string(), source: source.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Waits until a worker is lost for good; nothing where the model is closed before.
    pub(crate) fn lost(&self) -> impl Future<Output = Option<ModelError>> + Send + use<> {
        let (mut state, model) = (self.state.clone(), self.slot.to_string());
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
        let answered = timeout(patience, self.admission.close()).await.is_ok();
        let ended = self.close(patience).await;
        tracing::info!(model = %self.slot, version = self.card.version, answered, ended, "retired");
    }

    /// Answers what still waits with UNAVAILABLE and ends the workers, waiting for them no longer
    /// than `patience`. Says whether all ended.
    pub(crate) async fn close(&self, patience: Duration) -> bool {
        self.closed.cancel();
        self.tasks.close();
        timeout(patience, self.tasks.wait()).await.is_ok()
    }
}
