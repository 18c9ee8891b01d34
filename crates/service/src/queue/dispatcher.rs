//! The batcher's state without its channels: who waits, what every worker is doing, and which
//! batch goes where. Pure, so that its properties can be tested on random histories.

use tokio::time::Instant;

use super::batch_policy::{BatchPolicy, Decision, QueueView};
use crate::queue::fair_queue::{Arrived, FairQueue};

/// Jobs in the order of their callers' turns, and the workers that take them.
#[derive(Debug)]
pub(crate) struct Dispatcher<J> {
    /// As it was configured.
    configured: BatchPolicy,
    /// The same with batches no larger than pays.
    policy: BatchPolicy,
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

/// What follows from the present state.
#[derive(Debug)]
pub(crate) enum Step<J> {
    Send(Dispatch<J>),
    /// Nothing before this time, unless something happens.
    SleepUntil(Instant),
    /// Nothing until something happens.
    Sleep,
}

impl<J> Dispatcher<J> {
    pub(crate) fn new(policy: BatchPolicy, workers: usize) -> Self {
        let (configured, waiting) = (policy, FairQueue::new());
        Self { configured, policy, waiting, workers: vec![WorkerState::Starting; workers] }
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
        self.policy.max_batch_size = size.clamp(1, self.configured.max_batch_size);
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

    /// What to do now; to be asked again after every `Send`.
    pub(crate) fn step(&mut self, now: Instant, arriving: usize) -> Step<J> {
        let idle = self.workers.iter().position(|&state| state == WorkerState::Idle);
        let slot = self.open_slot();
        let oldest = self.waiting.oldest().unwrap_or(now);
        let view = QueueView {
            waiting: self.waiting.len(),
            oldest_wait: now.saturating_duration_since(oldest),
            arriving,
            idle_worker: idle.is_some(),
            open_slot: slot.is_some(),
        };
        match (self.policy.decide(&view), idle.or(slot)) {
            (Decision::Take(count), Some(worker)) => Step::Send(self.take(count, worker, now)),
            (Decision::WaitFor(left), _) => Step::SleepUntil(now + left),
            (Decision::Take(_) | Decision::Wait, _) => Step::Sleep,
        }
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
    fn arrived(job: u32, since: Instant) -> Arrived<u32> {
        Arrived { job, caller: 0, since }
    }

    fn dispatcher() -> Dispatcher<u32> {
        let max_batch_delay = Duration::from_millis(4);
        let policy = BatchPolicy { max_batch_size: MAX_BATCH, max_batch_delay };
        let mut dispatcher = Dispatcher::new(policy, WORKERS);
        (0..WORKERS).for_each(|worker| dispatcher.ready(worker));
        dispatcher
    }

    proptest! {
        #[test]
        fn every_job_is_computed_once_in_order_and_in_bounds(
            history in proptest::collection::vec(happening(), 0..200),
            arriving in 0usize..2,
        ) {
            let mut dispatcher = dispatcher();
            let mut hands: Vec<Hands> = (0..WORKERS).map(|_| Hands::default()).collect();
            let (mut now, mut pushed, mut taken) = (Instant::now(), 0u32, Vec::<u32>::new());
            // Whatever the history leaves, finished workers take the rest.
            let rest = (0..300).map(|step| Happening::Done(step % WORKERS));
            let flush = std::iter::once(Happening::Pass(10));
            for happening in history.into_iter().chain(flush).chain(rest) {
                match happening {
                    Happening::Arrive => {
                        dispatcher.push(arrived(pushed, now));
                        pushed += 1;
                    }
                    Happening::Done(worker) => {
                        if hands[worker].batches.pop_front().is_some() {
                            dispatcher.done(worker, now);
                        }
                    }
                    Happening::Pass(ms) => now += Duration::from_millis(ms),
                }
                while let Step::Send(Dispatch { worker, jobs }) = dispatcher.step(now, arriving) {
                    prop_assert!((1..=MAX_BATCH).contains(&jobs.len()));
                    taken.extend(&jobs);
                    hands[worker].batches.push_back(jobs);
                    prop_assert!(hands[worker].batches.len() <= 2, "more than a channel of one");
                }
            }
            prop_assert_eq!(taken, (0..pushed).collect::<Vec<_>>());
            prop_assert!(dispatcher.take_all().is_empty());
        }
    }

    #[test]
    fn jobs_of_a_lost_worker_come_first_again() {
        let mut dispatcher = dispatcher();
        let now = Instant::now();
        (0..3).for_each(|job| dispatcher.push(arrived(job, now)));
        let Step::Send(first) = dispatcher.step(now, 0) else { panic!("nothing sent") };
        dispatcher.push(arrived(3, now));
        dispatcher.lost(first.worker);
        dispatcher.put_back(first.jobs.into_iter().map(|job| arrived(job, now)));
        let Step::Send(second) = dispatcher.step(now, 0) else { panic!("nothing sent") };
        assert_eq!((second.worker, second.jobs), (1, vec![0, 1, 2]));
        dispatcher.lost(1);
        assert!(!dispatcher.any_left());
        assert!(matches!(dispatcher.step(now, 0), Step::Sleep));
        assert_eq!(dispatcher.take_all(), [3]);
    }

    #[test]
    fn batches_are_no_larger_than_pays_nor_than_configured() {
        let (mut dispatcher, now) = (dispatcher(), Instant::now());
        (0..9).for_each(|job| dispatcher.push(arrived(job, now)));
        let mut sizes = |limit| {
            dispatcher.limit(limit);
            let Step::Send(sent) = dispatcher.step(now, 0) else { panic!("nothing sent") };
            sent.jobs.len()
        };
        assert_eq!([sizes(2), sizes(MAX_BATCH + 5), sizes(0)], [2, MAX_BATCH, 1]);
    }

    #[test]
    fn a_lost_worker_that_was_done_before_stays_lost() {
        let (mut dispatcher, now) = (dispatcher(), Instant::now());
        (0..WORKERS).for_each(|worker| dispatcher.lost(worker));
        dispatcher.done(0, now);
        assert!(!dispatcher.any_left());
    }

    #[test]
    fn a_restarted_worker_takes_batches_again() {
        let (mut dispatcher, now) = (dispatcher(), Instant::now());
        (0..WORKERS).for_each(|worker| dispatcher.lost(worker));
        dispatcher.restarting(1);
        assert!(dispatcher.any_left() && !dispatcher.all_ready());
        dispatcher.push(arrived(0, now));
        assert!(matches!(dispatcher.step(now, 0), Step::Sleep));
        dispatcher.ready(1);
        let Step::Send(sent) = dispatcher.step(now, 0) else { panic!("nothing sent") };
        assert_eq!((sent.worker, sent.jobs), (1, vec![0]));
    }

    #[test]
    fn a_caller_with_many_clips_does_not_fill_the_batch() {
        let (mut dispatcher, now) = (dispatcher(), Instant::now());
        (0..9).for_each(|job| dispatcher.push(arrived(job, now)));
        dispatcher.push(Arrived { job: 100, caller: 1, since: now });
        let Step::Send(sent) = dispatcher.step(now, 0) else { panic!("nothing sent") };
        assert_eq!(sent.jobs, [0, 100, 1]);
    }

    #[test]
    fn the_worker_that_started_first_gets_the_next_full_batch() {
        let mut dispatcher = dispatcher();
        let start = Instant::now();
        let mut send_full = |at| {
            (0..MAX_BATCH as u32).for_each(|job| dispatcher.push(arrived(job, at)));
            match dispatcher.step(at, 0) {
                Step::Send(dispatch) => Some(dispatch.worker),
                _ => None,
            }
        };
        let later = |ms| start + Duration::from_millis(ms);
        let order: Vec<_> = (0..5).map(|step| send_full(later(step))).collect();
        assert_eq!(order, [Some(0), Some(1), Some(0), Some(1), None]);
    }
}
