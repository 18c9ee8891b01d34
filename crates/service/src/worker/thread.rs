//! A thread that owns one replica: tensors never leave it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use protoguard_core::{Clip, Outputs, Scorer, ScorerError, ScorerFactory, ScorerInput};
use protoguard_frames::scenes::test_clip;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::metrics::ModelMetrics;
use crate::queue::batcher::Event;
use crate::queue::estimate::{ComputeEstimate, Pace};
use crate::queue::job::Job;
use crate::worker::batch::{Batch, Failure, Pass, forward, words_of};
use crate::worker::turns::Turn;
use crate::worker::watchdog::Pulse;

/// Passes of each batch size that are timed.
const TIMED_PASSES: usize = 3;

pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) factory: Arc<dyn ScorerFactory>,
    pub(crate) batches: mpsc::Receiver<Vec<Job>>,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) warm_up_batch_sizes: Vec<usize>,
    /// Whether batches of these sizes are timed, to find the one that pays.
    pub(crate) fit_batch_size: bool,
    pub(crate) memory: Arc<SafeSize>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) pace: Arc<Pace>,
    pub(crate) turn: Turn,
    pub(crate) metrics: ModelMetrics,
}

/// The largest batch that a worker's device is believed to have memory for. It outlives the
/// worker's thread, and only falls: what filled the memory once can do so again.
#[derive(Debug)]
pub(crate) struct SafeSize(AtomicUsize);

impl Default for SafeSize {
    fn default() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }
}

impl SafeSize {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A batch of this size did not fit.
    fn too_large(&self, size: usize) {
        self.0.fetch_min((size / 2).max(1), Ordering::Relaxed);
    }
}

impl Worker {
    /// The thread's whole life: build, warm up, compute until the batcher hangs up.
    pub(crate) fn run(mut self) {
        let mut left = Vec::new();
        // A panic of the scorer is caught where it computes; this one would be ours.
        let ended = catch_unwind(AssertUnwindSafe(|| self.compute_all(&mut left)));
        let ended = ended.unwrap_or_else(|panic| {
            let words = words_of(panic.as_ref());
            Err(ScorerError::Load { reason: format!("worker panicked: {words}") })
        });
        if let Err(source) = ended {
            self.batches.close();
            while let Some(batch) = self.batches.blocking_recv() {
                left.extend(batch);
            }
            // Nobody listens once the service has ended.
            let _ = self.events.send(Event::WorkerLost { worker: self.index, source, left });
        }
    }

    fn compute_all(&mut self, left: &mut Vec<Job>) -> Result<(), ScorerError> {
        let scorer = self.build()?;
        let estimate = ComputeEstimate::default();
        let mut bench = Bench { worker: self, scorer, estimate, left };
        bench.warm_up()?;
        bench.worker.pace.update(&bench.estimate);
        let _alive = bench.worker.metrics.worker_alive();
        let _serving = bench.worker.turn.begin_serving();
        let best = bench.worker.fit_batch_size.then(|| bench.estimate.best_size());
        let worker = bench.worker.index;
        let best_batch_size = best.flatten();
        let mut done = Event::WorkerReady { worker, best_batch_size };
        loop {
            if bench.worker.events.send(done).is_err() {
                return Ok(());
            }
            let Some(jobs) = bench.worker.batches.blocking_recv() else { return Ok(()) };
            bench.settle(jobs.into())?;
            done = Event::WorkerDone(bench.worker.index);
        }
    }

    fn build(&self) -> Result<Box<dyn Scorer>, ScorerError> {
        catch_unwind(AssertUnwindSafe(|| self.factory.build()))
            .unwrap_or_else(|panic| Err(ScorerError::Load { reason: words_of(panic.as_ref()) }))
    }
}

/// A worker with its replica, which exists on the worker's thread only.
struct Bench<'a> {
    worker: &'a mut Worker,
    scorer: Box<dyn Scorer>,
    estimate: ComputeEstimate,
    /// Jobs that a lost device leaves for another worker.
    left: &'a mut Vec<Job>,
}

impl Bench<'_> {
    /// Computes a batch of every size that requests will see, and one with every picture; then
    /// times them, where that is wanted: a first pass also prepares.
    fn warm_up(&mut self) -> Result<(), ScorerError> {
        let sizes = std::mem::take(&mut self.worker.warm_up_batch_sizes);
        let factory = Arc::clone(&self.worker.factory);
        let card = factory.card();
        let started = Instant::now();
        let clip: Option<Clip> = (!sizes.is_empty()).then(|| test_clip(card.shape, false));
        let mut batches: Vec<Vec<ScorerInput>> = Vec::new();
        for (&size, clip) in sizes.iter().zip(clip.iter().cycle()) {
            let outputs = if size == 1 { Outputs::ALL } else { Outputs::NONE };
            let mut batch = vec![ScorerInput { clip: clip.clone(), outputs }; size];
            match self.worker.turn.warm_up(|| forward(self.scorer.as_mut(), &batch)) {
                Ok(_) => {
                    batch.iter_mut().for_each(|input| input.outputs = Outputs::NONE);
                    batches.push(batch);
                }
                Err(Failure::Lost(source)) => return Err(source),
                // It serves in smaller batches.
                Err(Failure::Memory { .. }) if size > 1 => self.make_room(size),
                Err(Failure::Batch { reason, .. } | Failure::Memory { reason }) => {
                    return Err(ScorerError::Batch { reason });
                }
            }
        }
        if self.worker.fit_batch_size {
            self.time(&batches);
        }
        let model = &card.name;
        let worker = self.worker.index;
        let seconds = started.elapsed().as_secs_f64();
        info!(model, worker, device = card.device, seconds, "worker warm");
        Ok(())
    }

    /// Notes the shortest of a few passes of each, which take turns: whatever else the machine does
    /// only makes them longer, and hits all sizes. Beside workers that serve one pass has to do, so
    /// that they have the device back.
    fn time(&mut self, batches: &[Vec<ScorerInput>]) {
        let turn = &self.worker.turn;
        let count = if turn.is_serving() { 1 } else { TIMED_PASSES };
        let mut least: Vec<Option<Duration>> = vec![None; batches.len()];
        for _ in 0..count {
            for (batch, least) in batches.iter().zip(&mut least) {
                let took = turn.warm_up(|| {
                    let started = Instant::now();
                    forward(self.scorer.as_mut(), batch).is_ok().then(|| started.elapsed())
                });
                *least = [*least, took].into_iter().flatten().min();
            }
        }
        for (batch, least) in batches.iter().zip(least) {
            if let Some(least) = least {
                self.estimate.measured(batch.len(), least);
            }
        }
    }

    /// Answers every job of a batch, or leaves it for another worker where the device is lost.
    /// A batch that fails is halved until the poisoned clip fails alone.
    fn settle(&mut self, mut batch: Batch) -> Result<(), ScorerError> {
        let size = batch.len();
        let hopeless = batch.drop_lapsed(self.estimate.until_answered(size));
        if hopeless && batch.len() == 0 {
            self.estimate.doubted(size);
            self.worker.pace.update(&self.estimate);
        }
        let safe = self.worker.memory.get();
        if batch.len() > safe {
            return self.settle_parts(batch, safe);
        }
        if batch.len() == 0 {
            return Ok(());
        }
        batch.begin();
        let beat = self.worker.pulse.begin(batch.request_ids());
        let (scored, pass) = self.worker.turn.serve(|| {
            let started = Instant::now();
            let scored = forward(self.scorer.as_mut(), &batch.inputs);
            (scored, Pass { started, compute: started.elapsed() })
        });
        drop(beat);
        match scored {
            Ok(scores) => {
                self.estimate.measured(batch.len(), pass.compute);
                self.worker.pace.update(&self.estimate);
                self.worker.metrics.computed(batch.len());
                batch.answer_all(scores, pass);
                Ok(())
            }
            Err(failure) => self.recover(batch, failure, pass),
        }
    }

    fn recover(&mut self, batch: Batch, failure: Failure, pass: Pass) -> Result<(), ScorerError> {
        let reason = match failure {
            Failure::Lost(source) => return Err(self.leave(batch, source)),
            Failure::Memory { reason } => {
                self.make_room(batch.len());
                reason
            }
            Failure::Batch { reason, panicked } => {
                if panicked {
                    // A replica that panicked may be half changed: a new one takes its place.
                    match self.worker.build() {
                        Ok(fresh) => self.scorer = fresh,
                        Err(source) => return Err(self.leave(batch, source)),
                    }
                }
                reason
            }
        };
        let model = &self.worker.factory.card().name;
        let worker = self.worker.index;
        warn!(model, worker, clips = batch.len(), reason, "batch failed");
        if batch.len() == 1 {
            batch.refuse_all(&reason, pass);
            return Ok(());
        }
        let half = batch.len().div_ceil(2);
        self.settle_parts(batch, half)
    }

    fn settle_parts(&mut self, mut batch: Batch, first: usize) -> Result<(), ScorerError> {
        let later = batch.split_off(first);
        match self.settle(batch) {
            Ok(()) => self.settle(later),
            Err(source) => Err(self.leave(later, source)),
        }
    }

    /// After a batch of `size` found no memory. A clip alone cannot be made smaller, but those
    /// after it find what others left lying.
    fn make_room(&mut self, size: usize) {
        self.scorer.release_memory();
        if size == 1 {
            return;
        }
        self.worker.metrics.oom_split();
        self.worker.memory.too_large(size);
        let model = &self.worker.factory.card().name;
        let worker = self.worker.index;
        let safe = self.worker.memory.get();
        warn!(model, worker, clips = size, safe, "out of device memory: smaller batches from here");
    }

    fn leave(&mut self, batch: Batch, source: ScorerError) -> ScorerError {
        self.left.extend(batch.into_jobs());
        source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_safe_size_halves_and_never_grows() {
        let safe = SafeSize::default();
        safe.too_large(8);
        assert_eq!(safe.get(), 4);
        safe.too_large(16);
        assert_eq!(safe.get(), 4);
        safe.too_large(1);
        assert_eq!(safe.get(), 1);
    }
}
