//! The task that gives a model's waiting clips to its workers.

use std::sync::Arc;

use protoguard_core::ScorerError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::admission::Admission;
use crate::dispatcher::{Dispatch, Dispatcher, Step};
use crate::job::Job;
use crate::{ServiceError, Unavailable};

/// Everything that can change what the batcher does next.
#[derive(Debug)]
pub(crate) enum Event {
    Enqueue(Job),
    /// A caller went away or ran out of time, or an admitted clip never came: the queue may hold
    /// jobs that nobody needs, and nothing may be arriving any more.
    GivenUp,
    WorkerReady(usize),
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
    /// In the words of the last worker.
    Lost(ScorerError),
}

/// Where a worker takes its batches from: a channel of one.
pub(crate) type BatchSender = mpsc::Sender<Vec<Job>>;

pub(crate) struct Batcher {
    pub(crate) model: String,
    pub(crate) dispatcher: Dispatcher<Job>,
    pub(crate) workers: Vec<BatchSender>,
    /// Unbounded as a channel, and bounded by admission: every job holds a permit.
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) state: watch::Sender<ModelState>,
    /// Ends the task; what waits then is answered UNAVAILABLE.
    pub(crate) closed: CancellationToken,
}

impl Batcher {
    /// Runs until closed; dropping the workers' channels then ends their threads.
    pub(crate) async fn run(mut self) {
        loop {
            let wake = self.dispatch().await;
            tokio::select! {
                () = self.closed.cancelled() => break,
                event = self.events.recv() => match event {
                    Some(event) => self.take_in(event),
                    None => break,
                },
                () = wake_at(wake) => {}
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

    /// Sends batches until there is nothing to send; says when to look again.
    async fn dispatch(&mut self) -> Option<Instant> {
        loop {
            let now = Instant::now();
            match self.dispatcher.step(now, self.admission.arriving()) {
                Step::Send(dispatch) => self.send(dispatch).await,
                Step::SleepUntil(wake) => return Some(wake),
                Step::Sleep => return None,
            }
        }
    }

    async fn send(&mut self, Dispatch { worker, jobs }: Dispatch<Job>) {
        debug!(model = self.model, worker, batch_size = jobs.len(), "batch formed");
        // The dispatcher sends only where there is room or a worker about to make some.
        if let Err(mpsc::error::SendError(jobs)) = self.workers[worker].send(jobs).await {
            self.dispatcher.lost(worker);
            self.dispatcher.put_back(jobs, Instant::now());
        }
    }

    fn take_in(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Enqueue(job) => self.enqueue(job, now),
            Event::GivenUp => self.dispatcher.sweep(|job| job.is_needed(now)),
            Event::WorkerReady(worker) => {
                self.dispatcher.ready(worker);
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
            Event::WorkerDone(worker) => self.dispatcher.done(worker, now),
            Event::WorkerLost { worker, source, left } => self.lose(worker, source, left),
        }
    }

    fn enqueue(&mut self, job: Job, now: Instant) {
        if self.dispatcher.any_left() {
            self.dispatcher.push(job, now);
        } else {
            self.refuse(job, Unavailable::NoWorker);
        }
    }

    fn lose(&mut self, worker: usize, source: ScorerError, left: Vec<Job>) {
        let still_loading = *self.state.borrow() == ModelState::Loading;
        error!(model = self.model, worker, error = %source, "worker lost");
        self.dispatcher.lost(worker);
        self.dispatcher.put_back(left, Instant::now());
        // A replica that cannot even be built is a fault of the configuration.
        if still_loading || !self.dispatcher.any_left() {
            self.state.send_replace(ModelState::Lost(source));
        }
        if !self.dispatcher.any_left() {
            self.refuse_all(Unavailable::NoWorker);
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

async fn wake_at(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
