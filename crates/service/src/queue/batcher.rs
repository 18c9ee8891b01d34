//! The task that gives a model's waiting clips to its workers.

use std::time::Duration;

use protoguard_core::ScorerError;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::BoxError;
use tracing::{debug, error, info, warn};

use crate::error::{ServiceError, Unavailable};
use crate::queue::dispatcher::{Dispatch, Dispatcher};
use crate::queue::job::{Job, Lapse};

/// Everything that can change what the batcher does next.
#[derive(Debug)]
pub(crate) enum Event {
    Enqueue(Box<Job>),
    /// A caller went away or ran out of time: the queue may hold jobs that nobody needs.
    GivenUp,
    WorkerReady {
        worker: usize,
        /// The batch whose clips cost the least, where that was measured.
        best_batch_size: Option<usize>,
    },
    WorkerDone(usize),
    WorkerLost {
        worker: usize,
        source: ScorerError,
        left: Vec<Job>,
    },
}

/// What a model can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModelState {
    Loading,
    Ready,
    /// A worker is gone for good, in its words. The process is to end rather than to go on with
    /// less than it was configured for.
    Lost(ScorerError),
}

/// Where a worker takes its batches from: a channel of one.
pub(crate) type BatchSender = mpsc::Sender<Vec<Job>>;

/// Starts a thread for a worker whose thread has ended.
pub(crate) type Restart = Box<dyn FnMut(usize) -> Result<BatchSender, BoxError> + Send>;

/// A worker is restarted so often without computing a batch in between, and then lost for good.
const MAX_RESTARTS: usize = 3;

/// How lost workers come back.
pub(crate) struct Restarts {
    restart: Restart,
    /// Restarts of each worker since its last batch.
    tried: Vec<usize>,
}

impl Restarts {
    pub(crate) fn new(workers: usize, restart: Restart) -> Self {
        Self { restart, tried: vec![0; workers] }
    }
}

pub(crate) struct Batcher {
    pub(crate) model: String,
    pub(crate) dispatcher: Dispatcher<Job>,
    pub(crate) workers: Vec<BatchSender>,
    pub(crate) restarts: Restarts,
    /// Unbounded as a channel, and bounded by admission: every job holds a permit.
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    pub(crate) state: watch::Sender<ModelState>,
    /// Ends the task; what waits then is answered UNAVAILABLE.
    pub(crate) closed: CancellationToken,
}

impl Batcher {
    /// Runs until closed; dropping the workers' channels then ends their threads.
    pub(crate) async fn run(mut self) {
        loop {
            self.dispatch().await;
            tokio::select! {
                () = self.closed.cancelled() => break,
                event = self.events.recv() => match event {
                    Some(event) => self.take_in(event),
                    None => break,
                },
            }
            // What came at the same time belongs to the same decision.
            while let Ok(event) = self.events.try_recv() {
                self.take_in(event);
            }
        }
        self.events.close();
        while let Ok(event) = self.events.try_recv() {
            self.take_in(event);
        }
        self.refuse_all(Unavailable::Draining);
    }

    /// Sends batches until there is none to send.
    async fn dispatch(&mut self) {
        while let Some(dispatch) = self.dispatcher.next_batch(Instant::now()) {
            self.send(dispatch).await;
        }
    }

    async fn send(&mut self, Dispatch { worker, jobs }: Dispatch<Job>) {
        debug!(model = self.model, worker, batch_size = jobs.len(), "batch formed");
        // The dispatcher sends only where there is room or a worker about to make some.
        if let Err(mpsc::error::SendError(jobs)) = self.workers[worker].send(jobs).await {
            self.dispatcher.lost(worker);
            self.put_back(jobs);
        }
    }

    fn put_back(&mut self, jobs: Vec<Job>) {
        self.dispatcher.put_back(jobs.into_iter().map(Job::arrived));
    }

    fn take_in(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Enqueue(job) => self.enqueue(*job),
            Event::GivenUp => self.sweep(now),
            Event::WorkerReady { worker, best_batch_size } => {
                self.dispatcher.ready(worker);
                if let Some(size) = best_batch_size {
                    info!(model = self.model, worker, size, "batches are no larger than pays");
                    self.dispatcher.limit(size);
                }
                if self.dispatcher.all_ready() {
                    self.state.send_if_modified(|state| {
                        let was_loading = *state == ModelState::Loading;
                        if was_loading {
                            *state = ModelState::Ready;
                        }
                        was_loading
                    });
                }
            }
            Event::WorkerDone(worker) => {
                self.restarts.tried[worker] = 0;
                self.dispatcher.done(worker, now);
            }
            Event::WorkerLost { worker, source, left } => self.lose(worker, source, left),
        }
    }

    fn enqueue(&mut self, job: Job) {
        if self.dispatcher.any_left() {
            self.dispatcher.push(job.arrived());
        } else {
            self.refuse(job, Unavailable::NoWorker);
        }
    }

    fn sweep(&mut self, now: Instant) {
        let needed = |job: &Job| job.ticket.lapse(now, Duration::ZERO).is_none();
        for job in self.dispatcher.sweep(needed) {
            let lapse = job.ticket.lapse(now, Duration::ZERO).unwrap_or(Lapse::Cancelled);
            job.ticket.lapsed(lapse);
        }
    }

    fn lose(&mut self, worker: usize, source: ScorerError, left: Vec<Job>) {
        let still_loading = *self.state.borrow() == ModelState::Loading;
        error!(model = self.model, worker, error = %source, "worker lost");
        self.dispatcher.lost(worker);
        self.put_back(left);
        // A replica that cannot even be built is a fault of the configuration, and a device that
        // is lost takes the process down: no thread of it would fare better.
        let fatal = still_loading || matches!(source, ScorerError::DeviceLost { .. });
        if fatal || !self.restart(worker) {
            self.state.send_replace(ModelState::Lost(source));
        }
        if !self.dispatcher.any_left() {
            self.refuse_all(Unavailable::NoWorker);
        }
    }

    /// Whether a new thread builds the worker's replica now.
    fn restart(&mut self, worker: usize) -> bool {
        let tried = &mut self.restarts.tried[worker];
        if *tried == MAX_RESTARTS {
            return false;
        }
        *tried += 1;
        let attempt = *tried;
        let model = &self.model;
        match (self.restarts.restart)(worker) {
            Ok(batches) => {
                warn!(model, worker, attempt, "worker restarted");
                self.workers[worker] = batches;
                self.dispatcher.restarting(worker);
                true
            }
            Err(error) => {
                error!(model, worker, error = %error, "worker cannot be restarted");
                false
            }
        }
    }

    fn refuse_all(&mut self, why: Unavailable) {
        let jobs = self.dispatcher.take_all();
        if !jobs.is_empty() {
            info!(model = self.model, clips = jobs.len(), why = %why, "queue refused");
        }
        jobs.into_iter().for_each(|job| self.refuse(job, why));
    }

    fn refuse(&self, job: Job, why: Unavailable) {
        job.ticket.answer(Err(ServiceError::Unavailable { model: self.model.clone(), why }));
    }
}

#[cfg(test)]
mod tests;
