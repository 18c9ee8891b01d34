//! Jobs in the order in which they are served: callers take turns, and a caller's own jobs stay in
//! their order.
//!
//! One queue for all would let a caller with a hundred clips in flight make everybody else wait
//! for a hundred clips. Here each caller that has jobs waiting gives one in its turn, so a job with
//! `k` of its caller's before it is served after at most `(k + 1) × callers` others. A caller is
//! a connection; behind a proxy that gathers callers into one connection they share its turn.

use std::collections::VecDeque;

/// Who sent a job: the number of the connection, or of the stream from [`FIRST_STREAM`] on.
pub(crate) type CallerId = u64;

/// Streams take turns as callers of their own, apart from connections.
pub(crate) const FIRST_STREAM: CallerId = 1 << 63;

#[derive(Debug)]
pub(crate) struct FairQueue<J> {
    /// In order of their turns; none is empty.
    callers: VecDeque<CallerQueue<J>>,
    len: usize,
}

#[derive(Debug)]
struct CallerQueue<J> {
    caller: CallerId,
    jobs: VecDeque<J>,
}

/// A job and who sent it.
#[derive(Debug)]
pub(crate) struct Arrived<J> {
    pub(crate) job: J,
    pub(crate) caller: CallerId,
}

impl<J> FairQueue<J> {
    pub(crate) fn new() -> Self {
        Self { callers: VecDeque::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, arrived: Arrived<J>) {
        let Arrived { job, caller } = arrived;
        self.len += 1;
        match self.callers.iter_mut().find(|queue| queue.caller == caller) {
            Some(queue) => queue.jobs.push_back(job),
            None => self.callers.push_back(CallerQueue { caller, jobs: [job].into() }),
        }
    }

    /// Puts a job before all others, as one that was taken and not computed.
    pub(crate) fn push_front(&mut self, arrived: Arrived<J>) {
        let Arrived { job, caller } = arrived;
        self.len += 1;
        let found = self.callers.iter().position(|queue| queue.caller == caller);
        let queue = found.and_then(|index| self.callers.remove(index));
        let mut queue = queue.unwrap_or(CallerQueue { caller, jobs: VecDeque::new() });
        queue.jobs.push_front(job);
        self.callers.push_front(queue);
    }

    /// The next job, after which it is the next caller's turn.
    pub(crate) fn pop(&mut self) -> Option<J> {
        let mut turn = self.callers.pop_front()?;
        let next = turn.jobs.pop_front()?;
        self.len -= 1;
        if !turn.jobs.is_empty() {
            self.callers.push_back(turn);
        }
        Some(next)
    }

    /// Keeps the jobs that are `needed`; gives back the others.
    pub(crate) fn sweep(&mut self, mut needed: impl FnMut(&J) -> bool) -> Vec<J> {
        let mut swept = Vec::new();
        for queue in &mut self.callers {
            let jobs = std::mem::take(&mut queue.jobs);
            for job in jobs {
                if needed(&job) {
                    queue.jobs.push_back(job);
                } else {
                    swept.push(job);
                }
            }
        }
        self.callers.retain(|queue| !queue.jobs.is_empty());
        self.len -= swept.len();
        swept
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A job says who sent it and which of theirs it is.
    type Job = [u64; 2];

    fn arrived(job: Job) -> Arrived<Job> {
        Arrived { job, caller: job[0] }
    }

    fn filled(callers: &[u64]) -> FairQueue<Job> {
        let mut queue = FairQueue::new();
        let mut counts = BTreeMap::new();
        for &caller in callers {
            let count = counts.entry(caller).or_insert(0);
            queue.push(arrived([caller, *count]));
            *count += 1;
        }
        queue
    }

    fn drained(queue: &mut FairQueue<Job>) -> Vec<Job> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn callers_take_turns() {
        let mut queue = filled(&[7, 7, 7, 8, 9, 9]);
        let expected = [[7, 0], [8, 0], [9, 0], [7, 1], [9, 1], [7, 2]];
        assert_eq!(drained(&mut queue), expected);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_comes_back_comes_first() {
        let mut queue = filled(&[7, 7, 8]);
        let first = queue.pop().unwrap();
        queue.push_front(arrived(first));
        assert_eq!(drained(&mut queue), [[7, 0], [8, 0], [7, 1]]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_doubled_and_nobody_starves(
            callers in proptest::collection::vec(0u64..5, 0..60),
        ) {
            let mut queue = filled(&callers);
            prop_assert_eq!(queue.len(), callers.len());
            let order = drained(&mut queue);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            let mut counts = [0u64; 5];
            let mut expected: Vec<Job> = Vec::new();
            for &caller in &callers {
                expected.push([caller, counts[caller as usize]]);
                counts[caller as usize] += 1;
            }
            expected.sort_unstable();
            prop_assert_eq!(sorted, expected);
            let present = counts.iter().filter(|&&count| count > 0).count() as u64;
            for (place, [_, before]) in order.into_iter().enumerate() {
                prop_assert!((place as u64) < (before + 1) * present);
            }
        }

        #[test]
        fn a_sweep_takes_what_is_not_needed_and_keeps_the_order(
            callers in proptest::collection::vec(0u64..4, 0..40),
            odd in 0u64..2,
        ) {
            let mut queue = filled(&callers);
            let mut all = filled(&callers);
            let swept = queue.sweep(|job| job[1] % 2 == odd);
            prop_assert!(swept.iter().all(|job| job[1] % 2 != odd));
            prop_assert_eq!(queue.len() + swept.len(), callers.len());
            let kept = drained(&mut queue);
            let mut in_order: Vec<Job> = drained(&mut all);
            in_order.retain(|job| job[1] % 2 == odd);
            for caller in 0..4 {
                let of = |jobs: &[Job]| jobs.iter().filter(|job| job[0] == caller).copied().collect::<Vec<_>>();
                prop_assert_eq!(of(&kept), of(&in_order));
            }
        }
    }
}
