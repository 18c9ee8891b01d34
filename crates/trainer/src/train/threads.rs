//! How many threads a training step gets: as many as it is fastest with.
//!
//! The threads of a layer wait for each other hundreds of times a step. Where another process holds
//! one of the cores, all wait for the thread that lost it, and a step on two cores takes several
//! times as long as on one. Which it is shows only in the time that steps take, so that now and
//! then a few are made with half or twice the threads.

use std::collections::VecDeque;

/// Steps that a number of threads is judged by: the median of so many.
const STEPS: usize = 5;
/// The first steps of all warm up.
const WARM_UP: usize = 2;
/// Another number is tried after so many steps, ...
const EVERY: usize = 256;
/// ... or once steps take so many times as long as they did.
const SLOWER: f64 = 1.5;
/// It is taken where a step takes at most this share of the time.
const FASTER: f64 = 0.8;

/// The number of threads of the next step.
#[derive(Clone, Debug)]
pub(super) struct Threads {
    /// The numbers to choose from: all cores, half of them, and so on to one.
    counts: Vec<usize>,
    /// Which of them is taken.
    taken: usize,
    /// The last steps with it, in seconds.
    recent: VecDeque<f64>,
    /// The median of the first steps with it since it was taken.
    first: Option<f64>,
    /// Steps that are left of the warm-up.
    cold: usize,
    /// Steps since another number was tried.
    steps: usize,
    trial: Option<Trial>,
    /// Whether the next trial is of more threads: in turn, and on in the direction that was faster.
    tries_more: bool,
}

/// A number that is being tried.
#[derive(Clone, Debug)]
struct Trial {
    at: usize,
    seconds: Vec<f64>,
}

impl Threads {
    /// Always so many.
    pub(super) fn fixed(count: usize) -> Self {
        Self::of(vec![count])
    }

    /// All cores, or fewer while those are faster.
    pub(super) fn free(cores: usize) -> Self {
        let halves = std::iter::successors(Some(cores.max(1)), |&it| (it > 1).then_some(it / 2));
        Self::of(halves.collect())
    }

    fn of(counts: Vec<usize>) -> Self {
        Self {
            counts,
            taken: 0,
            recent: VecDeque::new(),
            first: None,
            cold: WARM_UP,
            steps: 0,
            trial: None,
            tries_more: false,
        }
    }

    /// Threads that steps are made with, apart from trials.
    pub(super) fn taken(&self) -> usize {
        self.counts[self.taken]
    }

    /// Threads of the next step.
    pub(super) fn count(&self) -> usize {
        self.counts[self.trial.as_ref().map_or(self.taken, |trial| trial.at)]
    }

    /// Whether the next step is one that others are judged by, and not a trial or the warm-up.
    pub(super) fn is_settled(&self) -> bool {
        self.trial.is_none() && (self.counts.len() == 1 || self.first.is_some())
    }

    /// Takes the time of the step that was made with [`Threads::count`]; whether another number is
    /// taken from here on.
    pub(super) fn step(&mut self, seconds: f64) -> bool {
        match self.trial.take() {
            Some(trial) => self.tried(trial, seconds),
            None => {
                self.counted(seconds);
                false
            }
        }
    }

    fn counted(&mut self, seconds: f64) {
        if self.cold > 0 {
            self.cold -= 1;
            return;
        }
        self.steps += 1;
        self.recent.push_back(seconds);
        if self.recent.len() < STEPS {
            return;
        }
        while self.recent.len() > STEPS {
            self.recent.pop_front();
        }
        let now = self.median();
        let is_new = self.first.is_none();
        let first = *self.first.get_or_insert(now);
        if is_new {
            self.try_one(self.next());
        } else if self.steps >= EVERY || now > SLOWER * first {
            let next = self.next();
            self.tries_more = !self.tries_more;
            self.try_one(next.or(self.next()));
        }
    }

    fn median(&self) -> f64 {
        median(self.recent.iter().copied().collect())
    }

    /// The next number up or down, where there is one.
    fn next(&self) -> Option<usize> {
        if self.tries_more {
            return self.taken.checked_sub(1);
        }
        Some(self.taken + 1).filter(|&at| at < self.counts.len())
    }

    /// Begins a trial of a number.
    fn try_one(&mut self, at: Option<usize>) {
        self.steps = 0;
        self.first = Some(self.median());
        self.trial = at.map(|at| Trial { at, seconds: Vec::new() });
    }

    fn tried(&mut self, mut trial: Trial, seconds: f64) -> bool {
        trial.seconds.push(seconds);
        let now = self.median();
        // The first step of a trial pays for the change.
        let is_hopeless = trial.seconds.len() > 1 && seconds > SLOWER * now;
        if trial.seconds.len() < STEPS && !is_hopeless {
            self.trial = Some(trial);
            return false;
        }
        if is_hopeless || median(trial.seconds.clone()) > FASTER * now {
            return false;
        }
        // What made it faster may do so again.
        self.tries_more = trial.at < self.taken;
        self.taken = trial.at;
        self.recent = trial.seconds.into();
        self.first = None;
        true
    }
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds of so many steps, each as `cost` says for its threads.
    fn run(threads: &mut Threads, steps: usize, cost: impl Fn(usize) -> f64) -> f64 {
        let mut all = 0.0;
        for _ in 0..steps {
            let seconds = cost(threads.count());
            all += seconds;
            threads.step(seconds);
        }
        all
    }

    /// Cores of our own: twice the threads, half the time.
    fn quiet(threads: usize) -> f64 {
        1.0 / threads as f64
    }

    /// Cores that others hold as well: the more threads, the longer they wait for each other.
    fn busy(threads: usize) -> f64 {
        2.0 * threads as f64
    }

    #[test]
    fn all_cores_are_kept_where_they_are_faster() {
        for cores in [1, 2, 16] {
            let mut threads = Threads::free(cores);
            let seconds = run(&mut threads, 2000, quiet);
            assert_eq!(threads.taken(), cores);
            assert!(seconds < 1.03 * 2000.0 * quiet(cores), "{cores} cores: {seconds}");
        }
    }

    #[test]
    fn one_is_taken_where_cores_are_shared_and_all_again_when_they_are_free() {
        for cores in [2, 16] {
            let mut threads = Threads::free(cores);
            run(&mut threads, 40, busy);
            assert_eq!(threads.taken(), 1, "{cores} cores");
            let seconds = run(&mut threads, 2000, busy);
            assert!(seconds < 1.05 * 2000.0 * busy(1), "{cores} cores: {seconds}");
            run(&mut threads, 8 * EVERY, quiet);
            assert_eq!(threads.taken(), cores);
        }
    }

    #[test]
    fn what_becomes_slow_is_tried_at_once() {
        let mut threads = Threads::free(2);
        run(&mut threads, 50, quiet);
        assert_eq!(threads.taken(), 2);
        run(&mut threads, 8, busy);
        assert_eq!(threads.taken(), 1);
    }

    #[test]
    fn a_number_that_was_asked_for_stays() {
        let mut threads = Threads::fixed(3);
        assert!(threads.is_settled());
        run(&mut threads, 600, busy);
        assert!(threads.count() == 3 && threads.is_settled());
    }

    #[test]
    fn trials_and_the_warm_up_are_not_what_a_run_is_judged_by() {
        let mut threads = Threads::free(2);
        let mut settled = Vec::new();
        for _ in 0..11 {
            settled.push(threads.is_settled());
            threads.step(quiet(threads.count()));
        }
        // Two of warm-up, five with both, two of the trial that is given up.
        assert_eq!(settled, [[false; 9].as_slice(), &[true; 2]].concat());
    }
}
