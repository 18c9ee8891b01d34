//! A thread that owns one replica: tensors never leave it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use protoguard_core::{Clip, ClipScore, Outputs, Scorer, ScorerError, ScorerFactory, ScorerInput};
use protoguard_data::synth::test_clip;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::ServiceError;
use crate::batcher::Event;
use crate::job::{Job, Scored, Ticket};

pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) factory: Arc<dyn ScorerFactory>,
    pub(crate) batches: mpsc::Receiver<Vec<Job>>,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) warm_up_batch_sizes: Vec<usize>,
}

/// How a forward pass failed.
enum Failure {
    /// A smaller batch may succeed, on a new replica where this one panicked.
    Batch { reason: String, panicked: bool },
    /// Nothing will succeed on this thread.
    Lost(ScorerError),
}

impl Worker {
    /// The thread's whole life: build, warm up, compute until the batcher hangs up.
    pub(crate) fn run(mut self) {
        let mut left = Vec::new();
        if let Err(source) = self.compute_all(&mut left) {
            self.batches.close();
            while let Some(batch) = self.batches.blocking_recv() {
                left.extend(batch);
            }
            // Nobody listens once the service has ended.
            let _ = self.events.send(Event::WorkerLost { worker: self.index, source, left });
        }
    }

    fn compute_all(&mut self, left: &mut Vec<Job>) -> Result<(), ScorerError> {
        let mut scorer = self.build()?;
        self.warm_up(scorer.as_mut())?;
        let mut done = Event::WorkerReady(self.index);
        loop {
            if self.events.send(done).is_err() {
                return Ok(());
            }
            let Some(jobs) = self.batches.blocking_recv() else { return Ok(()) };
            self.compute(&mut scorer, jobs, left)?;
            done = Event::WorkerDone(self.index);
        }
    }

    fn build(&self) -> Result<Box<dyn Scorer>, ScorerError> {
        catch_unwind(AssertUnwindSafe(|| self.factory.build()))
            .unwrap_or_else(|panic| Err(ScorerError::Load { reason: words_of(panic.as_ref()) }))
    }

    /// Computes a batch of every size that requests will see, and one with every picture.
    fn warm_up(&self, scorer: &mut dyn Scorer) -> Result<(), ScorerError> {
        let card = self.factory.card();
        let started = Instant::now();
        let clip: Option<Clip> =
            (!self.warm_up_batch_sizes.is_empty()).then(|| test_clip(card.shape, false));
        for (&size, clip) in self.warm_up_batch_sizes.iter().zip(clip.iter().cycle()) {
            let outputs = if size == 1 { Outputs::ALL } else { Outputs::NONE };
            let batch = vec![ScorerInput { clip: clip.clone(), outputs }; size];
            match forward(scorer, &batch) {
                Ok(_) => {}
                Err(Failure::Lost(source)) => return Err(source),
                Err(Failure::Batch { reason, .. }) => return Err(ScorerError::Batch { reason }),
            }
        }
        let (model, worker) = (&card.name, self.index);
        let seconds = started.elapsed().as_secs_f64();
        info!(model, worker, device = card.device, seconds, "worker warm");
        Ok(())
    }

    /// Answers every job of a batch, dropping those that nobody needs before they cost compute.
    /// Jobs that a lost device leaves are put into `left`.
    fn compute(
        &self,
        scorer: &mut Box<dyn Scorer>,
        jobs: Vec<Job>,
        left: &mut Vec<Job>,
    ) -> Result<(), ScorerError> {
        let now = Instant::now();
        let mut batch = Batch::default();
        for Job { input, ticket } in jobs {
            if ticket.is_expired(now) {
                ticket.answer(Err(ServiceError::DeadlineExceeded { at: "in the queue" }));
            } else if !ticket.reply.is_closed() {
                batch.inputs.push(input);
                batch.tickets.push(ticket);
            }
        }
        self.settle(scorer, batch, left)
    }

    /// Computes a batch; halves it when it fails, until the poisoned clip fails alone.
    fn settle(
        &self,
        scorer: &mut Box<dyn Scorer>,
        batch: Batch,
        left: &mut Vec<Job>,
    ) -> Result<(), ScorerError> {
        if batch.len() == 0 {
            return Ok(());
        }
        let started = Instant::now();
        match forward(scorer.as_mut(), &batch.inputs) {
            Ok(scores) => {
                answer_all(batch.tickets, scores, started);
                Ok(())
            }
            Err(Failure::Lost(source)) => Err(batch.leave(left, source)),
            Err(Failure::Batch { reason, panicked }) => {
                let (model, worker) = (&self.factory.card().name, self.index);
                warn!(model, worker, clips = batch.len(), reason, "batch failed");
                if panicked {
                    // A replica that panicked may be half changed: a new one takes its place.
                    match self.build() {
                        Ok(fresh) => *scorer = fresh,
                        Err(source) => return Err(batch.leave(left, source)),
                    }
                }
                self.settle_halves(scorer, batch, &reason, left)
            }
        }
    }

    fn settle_halves(
        &self,
        scorer: &mut Box<dyn Scorer>,
        mut batch: Batch,
        reason: &str,
        left: &mut Vec<Job>,
    ) -> Result<(), ScorerError> {
        if batch.len() == 1 {
            batch.tickets.into_iter().for_each(|ticket| refuse(ticket, reason));
            return Ok(());
        }
        let later = batch.split_off_half();
        match self.settle(scorer, batch, left) {
            Ok(()) => self.settle(scorer, later, left),
            Err(source) => Err(later.leave(left, source)),
        }
    }
}

/// Clips side by side, as a scorer takes them, and their callers in the same order.
#[derive(Default)]
struct Batch {
    inputs: Vec<ScorerInput>,
    tickets: Vec<Ticket>,
}

impl Batch {
    fn len(&self) -> usize {
        self.inputs.len()
    }

    fn split_off_half(&mut self) -> Self {
        let half = self.len() / 2;
        Self { inputs: self.inputs.split_off(half), tickets: self.tickets.split_off(half) }
    }

    /// Leaves the jobs for another worker.
    fn leave(self, left: &mut Vec<Job>, source: ScorerError) -> ScorerError {
        let jobs = self.inputs.into_iter().zip(self.tickets);
        left.extend(jobs.map(|(input, ticket)| Job { input, ticket }));
        source
    }
}

/// One forward pass, its answer checked: as many scores as clips, or a failure.
fn forward(scorer: &mut dyn Scorer, batch: &[ScorerInput]) -> Result<Vec<ClipScore>, Failure> {
    let failed = |reason| Err(Failure::Batch { reason, panicked: false });
    match catch_unwind(AssertUnwindSafe(|| scorer.score(batch))) {
        Ok(Ok(scores)) if scores.len() == batch.len() => Ok(scores),
        Ok(Ok(scores)) => {
            failed(format!("scorer gave {} scores for {} clips", scores.len(), batch.len()))
        }
        Ok(Err(ScorerError::Batch { reason })) => failed(reason),
        Ok(Err(error @ ScorerError::OutOfMemory { .. })) => failed(error.to_string()),
        Ok(Err(error)) => Err(Failure::Lost(error)),
        Err(panic) => {
            let reason = format!("scorer panicked: {}", words_of(panic.as_ref()));
            Err(Failure::Batch { reason, panicked: true })
        }
    }
}

fn answer_all(tickets: Vec<Ticket>, scores: Vec<ClipScore>, started: Instant) {
    let compute = started.elapsed();
    let batch_size = tickets.len();
    for (ticket, score) in tickets.into_iter().zip(scores) {
        if let Some(reason) = not_finite(&score) {
            refuse(ticket, reason);
            continue;
        }
        let queue = started.saturating_duration_since(ticket.enqueued_at);
        ticket.answer(Ok(Scored { score, queue, compute, batch_size }));
    }
}

fn refuse(ticket: Ticket, reason: &str) {
    ticket.span.in_scope(|| error!(reason, "clip failed"));
    ticket.answer(Err(ServiceError::Compute { reason: reason.to_owned() }));
}

fn not_finite(score: &ClipScore) -> Option<&'static str> {
    if score.psnr.is_some_and(|psnr| !psnr.0.is_finite()) {
        return Some("its PSNR is not finite");
    }
    let distance = score.feature_distance?;
    (!distance.0.is_finite()).then_some("its feature distance is not finite")
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "?".to_owned())
}
