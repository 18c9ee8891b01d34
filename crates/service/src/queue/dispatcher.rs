//! When a batch starts, of which clips and where: the batcher's state without its channels, so that
//! its properties can be tested on random histories.
//!
//! The alternatives were a timer that every batch waits for, which makes a lone clip pay for
//! company that never comes, and forming the next batch as soon as a worker has started one, which
//! freezes it while it is small. Here a batch is formed when a worker is free, of all that waits;
//! only a full batch is handed to a worker ahead of time, since waiting cannot make it larger. No
//! clip waits for a timer.

use tokio::time::Instant;

use super::fair_queue::{Arrived, FairQueue};

/// The bound of dynamic batching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPolicy {
    /// Clips of a forward pass, at most.
    pub max_batch_size: usize,
}

/// Jobs in the order of their callers' turns, and the workers that take them.
#[derive(Debug)]
pub(crate) struct Dispatcher<J> {
    /// As it was configured.
    configured: BatchPolicy,
    /// Clips of a batch: as many as were configured, or as pay.
    max_batch_size: usize,
    waiting: FairQueue<J>,
    workers: Vec<WorkerState>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WorkerState {
    /// Building its replica.
    Starting,
    Idle,
    Busy {
        since: Instant,
        /// Whether its next batch already lies in its channel of one.
        next: bool,
    },
    Lost,
}

/// A batch and the worker that shall compute it.
#[derive(Debug)]
pub(crate) struct Dispatch<J> {
    pub(crate) worker: usize,
    pub(crate) jobs: Vec<J>,
}

impl<J> Dispatcher<J> {
    pub(crate) fn new(policy: BatchPolicy, workers: usize) -> Self {
        Self {
            configured: policy,
            max_batch_size: policy.max_batch_size,
            waiting: FairQueue::new(),
            workers: vec![WorkerState::Starting; workers],
        }
    }

    pub(crate) fn push(&mut self, arrived: Arrived<J>) {
        self.waiting.push(arrived);
    }

    /// Takes back, in their order, jobs that a lost worker did not compute.
    pub(crate) fn put_back(&mut self, jobs: impl DoubleEndedIterator<Item = Arrived<J>>) {
        jobs.rev().for_each(|arrived| self.waiting.push_front(arrived));
    }

    /// A new thread builds the replica of a worker that was lost.
    pub(crate) fn restarting(&mut self, worker: usize) {
        self.workers[worker] = WorkerState::Starting;
    }

    pub(crate) fn ready(&mut self, worker: usize) {
        self.workers[worker] = WorkerState::Idle;
    }

    /// Forms batches of this size at most, and never larger ones than were configured.
    pub(crate) fn limit(&mut self, size: usize) {
        self.max_batch_size = size.clamp(1, self.configured.max_batch_size);
    }

    pub(crate) fn done(&mut self, worker: usize, now: Instant) {
        self.workers[worker] = match self.workers[worker] {
            WorkerState::Busy { next: true, .. } => WorkerState::Busy { since: now, next: false },
            WorkerState::Lost => WorkerState::Lost,
            _ => WorkerState::Idle,
        };
    }

    pub(crate) fn lost(&mut self, worker: usize) {
        self.workers[worker] = WorkerState::Lost;
    }

    /// Whether every worker has built its replica.
    pub(crate) fn all_ready(&self) -> bool {
        !self.workers.contains(&WorkerState::Starting)
    }

    pub(crate) fn any_left(&self) -> bool {
        self.workers.iter().any(|&state| state != WorkerState::Lost)
    }

    /// Removes the jobs that nobody needs any more.
    pub(crate) fn sweep(&mut self, needed: impl FnMut(&J) -> bool) -> Vec<J> {
        self.waiting.sweep(needed)
    }

    /// Removes every job.
    pub(crate) fn take_all(&mut self) -> Vec<J> {
        std::iter::from_fn(|| self.waiting.pop()).collect()
    }

    /// The batch that is to be computed next, where one is; to be asked again until there is none.
    pub(crate) fn next_batch(&mut self, now: Instant) -> Option<Dispatch<J>> {
        let count = self.waiting.len().min(self.max_batch_size);
        let idle = self.workers.iter().position(|&state| state == WorkerState::Idle);
        let is_full = count == self.max_batch_size;
        let worker = if is_full { idle.or_else(|| self.open_slot()) } else { idle };
        worker.filter(|_| count > 0).map(|worker| self.take(count, worker, now))
    }

    /// The busy worker without a next batch that will probably be free first.
    fn open_slot(&self) -> Option<usize> {
        let open = self.workers.iter().enumerate().filter_map(|(index, state)| match state {
            WorkerState::Busy { since, next: false } => Some((*since, index)),
            _ => None,
        });
        open.min().map(|(_, index)| index)
    }

    fn take(&mut self, count: usize, worker: usize, now: Instant) -> Dispatch<J> {
        self.workers[worker] = match self.workers[worker] {
            WorkerState::Busy { since, .. } => WorkerState::Busy { since, next: true },
            _ => WorkerState::Busy { since: now, next: false },
        };
        let jobs = std::iter::from_fn(|| self.waiting.pop()).take(count).collect();
        Dispatch { worker, jobs }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const MAX_BATCH: usize = 3;
    const WORKERS: usize = 2;

    #[derive(Clone, Copy, Debug)]
    enum Happening {
        Arrive,
        Done(usize),
        Pass(u64),
    }

    fn happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            3 => Just(Happening::Arrive),
            2 => (0..WORKERS).prop_map(Happening::Done),
            1 => (0u64..8).prop_map(Happening::Pass),
        ]
    }

    /// A worker as the batcher sees it: what it computes and what lies in its channel of one.
    #[derive(Default)]
    struct Hands {
        batches: VecDeque<Vec<u32>>,
    }

    /// A job of the one caller there is.
    fn arrived(job: u32) -> Arrived<u32> {
        Arrived { job, caller: 0 }
    }

    fn dispatcher() -> Dispatcher<u32> {
        let policy = BatchPolicy { max_batch_size: MAX_BATCH };
        let mut dispatcher = Dispatcher::new(policy, WORKERS);
        (0..WORKERS).for_each(|worker| dispatcher.ready(worker));
        dispatcher
    }

    proptest! {
        #[test]
        fn every_job_is_computed_once_in_order_and_in_bounds(
            history in proptest::collection::vec(happening(), 0..200),
        ) {
            let mut dispatcher = dispatcher();
            let mut hands: Vec<Hands> = (0..WORKERS).map(|_| Hands::default()).collect();
            let mut now = Instant::now();
            let mut pushed = 0u32;
            let mut taken = Vec::<u32>::new();
            // Whatever the history leaves, finished workers take the rest.
            let rest = (0..300).map(|step| Happening::Done(step % WORKERS));
            for happening in history.into_iter().chain(rest) {
                match happening {
                    Happening::Arrive => {
                        dispatcher.push(arrived(pushed));
                        pushed += 1;
                    }
                    Happening::Done(worker) => {
                        if hands[worker].batches.pop_front().is_some() {
                            dispatcher.done(worker, now);
                        }
                    }
                    Happening::Pass(ms) => now += Duration::from_millis(ms),
                }
                while let Some(Dispatch { worker, jobs }) = dispatcher.next_batch(now) {
                    prop_assert!((1..=MAX_BATCH).contains(&jobs.len()));
                    let is_free = hands[worker].batches.is_empty();
                    prop_assert!(is_free || jobs.len() == MAX_BATCH, "frozen while it was small");
                    taken.extend(&jobs);
                    hands[worker].batches.push_back(jobs);
                    prop_assert!(hands[worker].batches.len() <= 2, "more than a channel of one");
                }
                let is_free = |hands: &Hands| hands.batches.is_empty();
                let waiting = pushed as usize - taken.len();
                prop_assert!(waiting == 0 || !hands.iter().any(is_free), "a free worker waits");
            }
            prop_assert_eq!(taken, (0..pushed).collect::<Vec<_>>());
            prop_assert!(dispatcher.take_all().is_empty());
        }
    }

    #[test]
    fn a_lone_clip_on_an_idle_worker_waits_for_nothing() {
        let mut dispatcher = dispatcher();
        let now = Instant::now();
        dispatcher.push(arrived(0));
        let Some(sent) = dispatcher.next_batch(now) else { panic!("nothing sent") };
        assert_eq!((sent.worker, sent.jobs), (0, vec![0]));
        assert!(dispatcher.next_batch(now).is_none());
    }

    #[test]
    fn only_a_full_batch_is_handed_to_a_busy_worker() {
        let mut dispatcher = Dispatcher::new(BatchPolicy { max_batch_size: 4 }, 1);
        dispatcher.ready(0);
        let now = Instant::now();
        dispatcher.push(arrived(0));
        assert!(dispatcher.next_batch(now).is_some());
        (1..4).for_each(|job| dispatcher.push(arrived(job)));
        assert!(dispatcher.next_batch(now).is_none());
        (4..9).for_each(|job| dispatcher.push(arrived(job)));
        let Some(sent) = dispatcher.next_batch(now) else { panic!("nothing sent") };
        assert_eq!(sent.jobs, [1, 2, 3, 4]);
    }

    #[test]
    fn jobs_of_a_lost_worker_come_first_again() {
        let mut dispatcher = dispatcher();
        let now = Instant::now();
        (0..3).for_each(|job| dispatcher.push(arrived(job)));
        let Some(first) = dispatcher.next_batch(now) else { panic!("nothing sent") };
        dispatcher.push(arrived(3));
        dispatcher.lost(first.worker);
        dispatcher.put_back(first.jobs.into_iter().map(arrived));
        let Some(second) = dispatcher.next_batch(now) else { panic!("nothing sent") };
        assert_eq!((second.worker, second.jobs), (1, vec![0, 1, 2]));
        dispatcher.lost(1);
        assert!(!dispatcher.any_left());
        assert!(dispatcher.next_batch(now).is_none());
        assert_eq!(dispatcher.take_all(), [3]);
    }

    #[test]
    fn batches_are_no_larger_than_pays_nor_than_configured() {
        let mut dispatcher = dispatcher();
        let now = Instant::now();
        (0..9).for_each(|job| dispatcher.push(arrived(job)));
        let mut sizes = |limit| {
            dispatcher.limit(limit);
            let Some(sent) = dispatcher.next_batch(now) else { panic!("nothing sent") };
            sent.jobs.len()
        };
        assert_eq!([sizes(2), sizes(MAX_BATCH + 5), sizes(0)], [2, MAX_BATCH, 1]);
    }

    #[test]
    fn a_lost_worker_that_was_done_before_stays_lost() {
        let mut dispatcher = dispatcher();
        let now = Instant::now();
        (0..WORKERS).for_each(|worker| dispatcher.lost(worker));
        dispatcher.done(0, now);
        assert!(!dispatcher.any_left());
    }

    #[test]
    fn a_restarted_worker_takes_batches_again() {
        let mut dispatcher = dispatcher();
        let now = Instant::now();
        (0..WORKERS).for_each(|worker| dispatcher.lost(worker));
        dispatcher.restarting(1);
        assert!(dispatcher.any_left() && !dispatcher.all_ready());
        dispatcher.push(arrived(0));
        assert!(dispatcher.next_batch(now).is_none());
        dispatcher.ready(1);
        let Some(sent) = dispatcher.next_batch(now) else { panic!("nothing sent") };
        assert_eq!((sent.worker, sent.jobs), (1, vec![0]));
    }

    #[test]
    fn a_caller_with_many_clips_does_not_fill_the_batch() {
        let mut dispatcher = dispatcher();
        let now = Instant::now();
        (0..9).for_each(|job| dispatcher.push(arrived(job)));
        dispatcher.push(Arrived { job: 100, caller: 1 });
        let Some(sent) = dispatcher.next_batch(now) else { panic!("nothing sent") };
        assert_eq!(sent.jobs, [0, 100, 1]);
    }

    #[test]
    fn the_worker_that_started_first_gets_the_next_full_batch() {
        let mut dispatcher = dispatcher();
        let start = Instant::now();
        let mut send_full = |at| {
            (0..MAX_BATCH as u32).for_each(|job| dispatcher.push(arrived(job)));
            dispatcher.next_batch(at).map(|dispatch| dispatch.worker)
        };
        let later = |ms| start + Duration::from_millis(ms);
        let order: Vec<_> = (0..5).map(|step| send_full(later(step))).collect();
        assert_eq!(order, [Some(0), Some(1), Some(0), Some(1), None]);
    }
}
