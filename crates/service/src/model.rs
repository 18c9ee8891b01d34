use std::sync::Arc;
use std::thread;

use protoguard_core::{ModelCard, ScorerError, ScorerFactory, ScorerInput};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Duration, Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, Arrival, Permit};
use crate::batcher::{Batcher, Event, ModelState};
use crate::dispatcher::Dispatcher;
use crate::job::{Job, Scored, Ticket};
use crate::worker::Worker;
use crate::{ServeError, ServiceConfig, ServiceError, Unavailable};

/// A model to be served: one factory a worker, all of the same checkpoint.
#[derive(Clone)]
pub struct ModelSpec {
    /// Each makes the replica of one worker, on that worker's thread. The first one's card
    /// describes the model.
    pub replicas: Vec<Arc<dyn ScorerFactory>>,
}

/// A served model: its queue, its batcher and its workers.
pub(crate) struct Model {
    card: ModelCard,
    admission: Arc<Admission>,
    events: mpsc::UnboundedSender<Event>,
    state: watch::Receiver<ModelState>,
    closed: CancellationToken,
    /// The batcher and one watcher a worker thread.
    tasks: TaskTracker,
}

/// A clip that was admitted and is now being decoded.
pub(crate) struct Admitted {
    permit: Permit,
    arrival: Arrival,
    given_up: GivenUp,
}

/// What goes into the queue beside the permit.
pub(crate) struct QueuedClip {
    pub(crate) input: ScorerInput,
    pub(crate) deadline: Option<Instant>,
}

/// Tells the batcher when a request ends before its answer, so that its clip makes room at once.
struct GivenUp {
    events: mpsc::UnboundedSender<Event>,
    answered: bool,
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        if !self.answered {
            // The batcher has ended only when the service has.
            let _ = self.events.send(Event::GivenUp);
        }
    }
}

impl Model {
    /// Starts the batcher and the workers; the model is loading until all are warm.
    pub(crate) fn start(spec: ModelSpec, config: &ServiceConfig) -> Result<Self, ServeError> {
        let Some(first) = spec.replicas.first() else {
            return Err(ServeError::NoReplica);
        };
        let card = first.card().clone();
        let admission = Admission::new(config.admission);
        let (events, inbox) = mpsc::unbounded_channel();
        let (state_sender, state) = watch::channel(ModelState::Loading);
        let closed = CancellationToken::new();
        let tasks = TaskTracker::new();
        let dispatcher = Dispatcher::new(config.batch, spec.replicas.len());
        let mut workers = Vec::new();
        for (index, factory) in spec.replicas.into_iter().enumerate() {
            let (sender, batches) = mpsc::channel(1);
            workers.push(sender);
            let warm_up_batch_sizes = config.warm_up_batch_sizes.clone();
            let events = events.clone();
            let worker = Worker { index, factory, batches, events, warm_up_batch_sizes };
            tasks.spawn(start_thread(worker, &card.name)?);
        }
        tasks.spawn(
            Batcher {
                model: card.name.clone(),
                dispatcher,
                workers,
                events: inbox,
                admission: Arc::clone(&admission),
                state: state_sender,
                closed: closed.clone(),
            }
            .run(),
        );
        tasks.close();
        Ok(Self { card, admission, events, state, closed, tasks })
    }

    pub(crate) fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Takes room for a clip before anything is decoded.
    pub(crate) fn admit(&self, bytes: usize) -> Result<Admitted, ServiceError> {
        let model = || self.card.name.clone();
        let unavailable = |why| Err(ServiceError::Unavailable { model: model(), why });
        match *self.state.borrow() {
            ModelState::Loading => return unavailable(Unavailable::Loading),
            ModelState::Lost(_) => return unavailable(Unavailable::NoWorker),
            ModelState::Ready => {}
        }
        let permit = self.admission.admit(bytes).map_err(|full| ServiceError::Overloaded {
            model: model(),
            unit: full.unit,
            in_use: full.in_use,
            limit: full.limit,
        })?;
        let given_up = GivenUp { events: self.events.clone(), answered: false };
        Ok(Admitted { permit, arrival: self.admission.arrival(), given_up })
    }

    /// Queues a decoded clip and waits for its scores.
    pub(crate) async fn score(
        &self,
        admitted: Admitted,
        clip: QueuedClip,
    ) -> Result<Scored, ServiceError> {
        let Admitted { permit, arrival, mut given_up } = admitted;
        let (reply, answer) = oneshot::channel();
        let ticket = Ticket {
            reply,
            deadline: clip.deadline,
            enqueued_at: Instant::now(),
            permit,
            span: tracing::Span::current(),
        };
        let gone = || ServiceError::Unavailable {
            model: self.card.name.clone(),
            why: Unavailable::Draining,
        };
        // Counted out first, so that the batcher never waits for the clip that it is given.
        drop(arrival);
        let job = Job { input: clip.input, ticket };
        self.events.send(Event::Enqueue(job)).map_err(|_| gone())?;
        let answer = answer.await.map_err(|_| gone())?;
        given_up.answered = true;
        answer
    }

    /// Waits until every worker is warm.
    pub(crate) async fn ready(&self) -> Result<(), ServeError> {
        let mut state = self.state.clone();
        let reached = state.wait_for(|state| *state != ModelState::Loading).await;
        match reached.as_deref() {
            Ok(ModelState::Lost(source)) => Err(self.lost_error(source)),
            _ => Ok(()),
        }
    }

    /// Waits until no worker is left.
    pub(crate) async fn lost(&self) -> ServeError {
        let mut state = self.state.clone();
        let is_lost = |state: &ModelState| matches!(state, ModelState::Lost(_));
        if let Ok(ModelState::Lost(source)) = state.wait_for(is_lost).await.as_deref() {
            return self.lost_error(source);
        }
        // The batcher ended first: nothing will be lost any more.
        std::future::pending().await
    }

    fn lost_error(&self, source: &ScorerError) -> ServeError {
        ServeError::ModelLost { model: self.card.name.clone(), source: source.clone() }
    }

    /// Answers what still waits with UNAVAILABLE and ends the workers, waiting for them no longer
    /// than `patience`. Says whether all ended.
    pub(crate) async fn close(&self, patience: Duration) -> bool {
        self.closed.cancel();
        timeout(patience, self.tasks.wait()).await.is_ok()
    }
}

/// Starts a worker's thread; the future ends with it.
fn start_thread(
    worker: Worker,
    model: &str,
) -> Result<impl Future<Output = ()> + use<>, ServeError> {
    let (alive, ended) = oneshot::channel::<()>();
    let index = worker.index;
    let run = move || {
        // Dropped at the thread's end, whatever ends it.
        let _alive = alive;
        worker.run();
    };
    thread::Builder::new().name(format!("score-{model}-{index}")).spawn(run).map_err(|error| {
        ServeError::Thread { model: model.to_owned(), worker: index, reason: error.to_string() }
    })?;
    Ok(async move {
        // The sender never sends: its end is the message.
        let _ = ended.await;
    })
}
