//! The threads of one model's workers, and how they are started again.

use std::sync::Arc;
use std::thread;

use protoguard_core::ScorerFactory;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::metrics::ModelMetrics;
use crate::queue::batcher::{BatchSender, Event, Restart};
use crate::queue::estimate::Pace;
use crate::worker::thread::{SafeSize, Worker};
use crate::worker::turns::Turns;
use crate::worker::watchdog::Pulse;

pub(crate) struct Crew {
    pub(crate) model: String,
    /// One a worker.
    pub(crate) factories: Vec<Arc<dyn ScorerFactory>>,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) warm_up_batch_sizes: Vec<usize>,
    pub(crate) fit_batch_size: bool,
    pub(crate) pace: Arc<Pace>,
    pub(crate) turns: Arc<Turns>,
    pub(crate) metrics: ModelMetrics,
    /// One watcher a thread, which ends with it.
    pub(crate) tasks: TaskTracker,
    pub(crate) posts: Vec<Post>,
}

/// A worker's thread that cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("worker {worker} of model `{model}` cannot be started: {reason}")]
pub struct ThreadError {
    /// The model's name.
    pub model: String,
    /// Number of the worker.
    pub worker: usize,
    /// The system's words.
    pub reason: String,
}

/// What a worker's threads leave to each other.
#[derive(Default)]
pub(crate) struct Post {
    pulse: Arc<Pulse>,
    memory: Arc<SafeSize>,
}

impl Crew {
    /// Starts every worker.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(mut self) -> Result<(Self, Vec<BatchSender>), ThreadError> {
        self.posts = self.factories.iter().map(|_| Post::default()).collect();
        let workers = (0..self.posts.len()).map(|worker| self.start_worker(worker));
        let workers = workers.collect::<Result<_, _>>()?;
        Ok((self, workers))
    }

    pub(crate) fn pulses(&self) -> Vec<Arc<Pulse>> {
        self.posts.iter().map(|post| Arc::clone(&post.pulse)).collect()
    }

    /// How the batcher starts a worker again.
    pub(crate) fn restart(self) -> Restart {
        Box::new(move |worker| Ok(self.start_worker(worker)?))
    }

    /// Starts the thread of one worker, which builds its replica and takes batches.
    fn start_worker(&self, index: usize) -> Result<BatchSender, ThreadError> {
        let (sender, batches) = mpsc::channel(1);
        let post = &self.posts[index];
        let worker = Worker {
            index,
            factory: Arc::clone(&self.factories[index]),
            batches,
            events: self.events.clone(),
            warm_up_batch_sizes: self.warm_up_batch_sizes.clone(),
            fit_batch_size: self.fit_batch_size,
            memory: Arc::clone(&post.memory),
            pulse: Arc::clone(&post.pulse),
            pace: Arc::clone(&self.pace),
            turn: self.turns.on(&self.factories[index].card().device),
            metrics: self.metrics.clone(),
        };
        let (alive, ended) = oneshot::channel::<()>();
        let run = move || {
            // Dropped at the thread's end, whatever ends it.
            let _alive = alive;
            worker.run();
        };
        let name = format!("score-{}-{index}", self.model);
        thread::Builder::new().name(name).spawn(run).map_err(|error| ThreadError {
            model: self.model.clone(),
            worker: index,
            reason: error.to_string(),
        })?;
        self.tasks.spawn(async move {
            // The sender never sends: its end is the message.
            let _ = ended.await;
        });
        Ok(sender)
    }
}
