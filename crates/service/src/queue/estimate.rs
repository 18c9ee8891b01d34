//! How long a forward pass takes, from those that were measured.
//!
//! It serves to refuse clips that cannot be answered in time: under overload the head of the queue
//! is always close to its deadline, so an estimate on the low side would compute everything for
//! callers that have just left. As TCP does for its timer (RFC 6298), it follows the mean and adds
//! how far passes stray from it. When it refuses a whole batch nothing is left to measure; it falls
//! then, so that a slow moment cannot shut everybody out for ever.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A new pass moves the mean and the deviation by one part in so many.
const MEMORY: u32 = 4;
/// A refusal lowers both by one part in so many.
const CAUTION: u32 = 8;
/// Deviations on top of the mean.
const DEVIATIONS: u32 = 2;
/// One part of the mean in so many, for the answer's way back.
const WAY_BACK: u32 = 8;
/// One part of the wait in so many, because a long one is less certain.
const UNCERTAINTY: u32 = 16;
/// Sizes whose clips cost this many times the least, at most, are as good as the best.
const AS_GOOD: f64 = 1.03;

#[derive(Clone, Copy, Debug)]
struct Passes {
    mean: Duration,
    deviation: Duration,
}

/// Measured durations by batch size.
#[derive(Debug, Default)]
pub(crate) struct ComputeEstimate {
    /// At the index of a batch size.
    by_size: Vec<Option<Passes>>,
}

impl ComputeEstimate {
    pub(crate) fn measured(&mut self, batch_size: usize, took: Duration) {
        if self.by_size.len() <= batch_size {
            self.by_size.resize(batch_size + 1, None);
        }
        let known = &mut self.by_size[batch_size];
        *known = Some(match *known {
            None => Passes { mean: took, deviation: took / CAUTION },
            Some(Passes { mean, deviation }) => {
                Passes { mean: moved(mean, took), deviation: moved(deviation, took.abs_diff(mean)) }
            }
        });
    }

    /// An answer of a batch of this size that starts now is there after so long; zero while nothing
    /// is known. A batch takes no less than a smaller one.
    pub(crate) fn until_answered(&self, batch_size: usize) -> Duration {
        let known = self.by_size.iter().take(batch_size + 1).rev();
        let Some(Passes { mean, deviation }) = known.copied().flatten().next() else {
            return Duration::ZERO;
        };
        mean + mean / WAY_BACK + deviation * DEVIATIONS
    }

    /// A whole batch was refused because of the estimate.
    pub(crate) fn doubted(&mut self, batch_size: usize) {
        for known in self.by_size.iter_mut().take(batch_size + 1).flatten() {
            known.mean -= known.mean / CAUTION;
            known.deviation -= known.deviation / CAUTION;
        }
    }

    /// What a clip costs in the batch where it costs least. A size that was never seen may cost no
    /// more than the largest that was.
    fn least_per_clip(&self, max_batch_size: usize) -> Option<Duration> {
        let known = || {
            let sized = self.by_size.iter().enumerate();
            sized.filter_map(|(size, passes)| Some((size as u32, (*passes)?.mean)))
        };
        let (largest, took) = known().next_back()?;
        let unseen = took / largest.max(max_batch_size as u32);
        Some(known().map(|(size, mean)| mean / size).fold(unseen, Duration::min))
    }

    /// The smallest of the measured sizes whose clips cost about the least each; nothing where fewer
    /// than two were measured.
    ///
    /// On a CPU clips of a large batch cost more than those of a smaller one that fits the caches,
    /// and where they cost the same, those of the smaller one wait less for each other.
    pub(crate) fn best_size(&self) -> Option<usize> {
        let known = self.by_size.iter().enumerate();
        let costs: Vec<(usize, f64)> = known
            .filter_map(|(size, passes)| Some((size, (*passes)?.mean.as_secs_f64() / size as f64)))
            .collect();
        let least = costs.iter().map(|&(_, cost)| cost).fold(f64::INFINITY, f64::min);
        let best = costs.iter().find(|&&(_, cost)| cost <= AS_GOOD * least)?;
        (costs.len() > 1).then_some(best.0)
    }
}

/// How long the clips of a model take at best, as its workers say it: who would wait too long can
/// be told so before anything of the clip is received.
#[derive(Debug)]
pub(crate) struct Pace {
    workers: u32,
    max_batch_size: usize,
    clip_ns: AtomicU64,
    lone_ns: AtomicU64,
}

impl Pace {
    pub(crate) fn new(workers: usize, max_batch_size: usize) -> Self {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX).max(1);
        Self { workers, max_batch_size, clip_ns: AtomicU64::new(0), lone_ns: AtomicU64::new(0) }
    }

    /// Takes over what an estimate has become.
    pub(crate) fn update(&self, estimate: &ComputeEstimate) {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(clip) = estimate.least_per_clip(self.max_batch_size) {
            self.clip_ns.store(ns(clip), Ordering::Relaxed);
            self.lone_ns.store(ns(estimate.until_answered(1)), Ordering::Relaxed);
        }
    }

    /// A clip with `ahead` others before it is answered after so long, if all goes well; zero while
    /// nothing is known, and for a clip alone, which is measured rather than guessed.
    pub(crate) fn until_answered(&self, ahead: usize) -> Duration {
        if ahead == 0 {
            return Duration::ZERO;
        }
        let [clip, lone] = [&self.clip_ns, &self.lone_ns]
            .map(|ns| Duration::from_nanos(ns.load(Ordering::Relaxed)));
        let wait = clip.saturating_mul(u32::try_from(ahead).unwrap_or(u32::MAX)) / self.workers;
        wait + wait / UNCERTAINTY + lone
    }
}

fn moved(from: Duration, to: Duration) -> Duration {
    match to.checked_sub(from) {
        Some(up) => from + up / MEMORY,
        None => from - (from - to) / MEMORY,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_pace_is_that_of_the_best_batches_of_all_workers() {
        let pace = Pace::new(2, 8);
        let mut estimate = ComputeEstimate::default();
        pace.update(&estimate);
        assert_eq!(pace.until_answered(1000), Duration::ZERO);
        estimate.measured(1, ms(32));
        pace.update(&estimate);
        // A batch of eight may take no longer than one clip.
        assert_eq!(pace.until_answered(16), ms(32 + 2) + estimate.until_answered(1));
        estimate.measured(8, ms(128));
        pace.update(&estimate);
        assert_eq!(pace.until_answered(16), ms(128 + 8) + estimate.until_answered(1));
        assert_eq!(pace.until_answered(0), Duration::ZERO);
        estimate.measured(4, ms(40));
        pace.update(&estimate);
        assert_eq!(pace.until_answered(16), ms(80 + 5) + estimate.until_answered(1));
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn an_unknown_size_takes_as_long_as_the_nearest_smaller_one() {
        let mut estimate = ComputeEstimate::default();
        assert_eq!(estimate.until_answered(4), Duration::ZERO);
        estimate.measured(2, ms(80));
        estimate.measured(8, ms(240));
        assert_eq!(estimate.until_answered(1), Duration::ZERO);
        // An eighth for the way back, and twice the deviation, an eighth at first.
        assert_eq!(estimate.until_answered(7), ms(80 + 10 + 20));
        assert_eq!(estimate.until_answered(100), ms(240 + 30 + 60));
    }

    #[test]
    fn it_follows_the_passes_and_stays_above_them() {
        let mut estimate = ComputeEstimate::default();
        for pass in 0..200 {
            let took = ms(if pass % 2 == 0 { 90 } else { 110 });
            estimate.measured(1, took);
        }
        let steady = estimate.until_answered(1);
        assert!(steady > ms(110) && steady < ms(150), "{steady:?}");
        (0..50).for_each(|_| estimate.measured(1, ms(20)));
        assert!(estimate.until_answered(1) < ms(24));
    }

    #[test]
    fn a_pass_moves_mean_and_deviation_by_a_quarter() {
        let mut estimate = ComputeEstimate::default();
        let us = Duration::from_micros;
        estimate.measured(1, ms(80));
        // Mean 80 + 40/4, deviation 10 + 30/4.
        estimate.measured(1, ms(120));
        assert_eq!(estimate.until_answered(1), us(90_000 + 11_250 + 2 * 17_500));
        // Mean 90 - 40/4, deviation 17.5 + 22.5/4.
        estimate.measured(1, ms(50));
        assert_eq!(estimate.until_answered(1), us(80_000 + 10_000 + 2 * 23_125));
        // The mean stays, deviation 23.125 - 23.125/4.
        estimate.measured(1, ms(80));
        assert_eq!(
            estimate.until_answered(1),
            us(80_000 + 10_000) + Duration::from_nanos(2 * 17_343_750)
        );
    }

    #[test]
    fn a_doubt_lowers_what_was_measured_up_to_its_size_by_an_eighth() {
        let mut estimate = ComputeEstimate::default();
        for size in [1, 2, 4] {
            estimate.measured(size, ms(40 * size as u64));
        }
        estimate.doubted(2);
        // Mean 35 and deviation 4.375 of one, mean 70 and deviation 8.75 of two.
        assert_eq!(estimate.until_answered(1), Duration::from_micros(35_000 + 4_375 + 8_750));
        assert_eq!(estimate.until_answered(2), Duration::from_micros(70_000 + 8_750 + 17_500));
        assert_eq!(estimate.until_answered(4), ms(160 + 20 + 40));
    }

    #[test]
    fn the_best_size_is_the_smallest_that_costs_about_the_least() {
        let mut estimate = ComputeEstimate::default();
        estimate.measured(1, ms(22));
        assert_eq!(estimate.best_size(), None);
        estimate.measured(2, ms(38));
        estimate.measured(4, ms(72));
        assert_eq!(estimate.best_size(), Some(4));
        estimate.measured(8, ms(162));
        assert_eq!(estimate.best_size(), Some(4));
        estimate.measured(16, ms(289));
        assert_eq!(estimate.best_size(), Some(4), "as good as twice and four times as many");
        estimate.measured(32, ms(480));
        assert_eq!(estimate.best_size(), Some(32));
        // Three hundredths more is as good.
        let mut estimate = ComputeEstimate::default();
        estimate.measured(1, ms(1030));
        estimate.measured(2, ms(2000));
        assert_eq!(estimate.best_size(), Some(1));
    }

    proptest! {
        /// However wrong it became, clips whose deadline can be met are computed again.
        #[test]
        fn no_slow_moment_shuts_callers_out_for_ever(slow_ms in 1u64..1_000_000, size in 1usize..9) {
            let mut estimate = ComputeEstimate::default();
            estimate.measured(size, ms(slow_ms));
            let mut refused = 0;
            while estimate.until_answered(size) > ms(1) {
                estimate.doubted(size);
                refused += 1;
                prop_assert!(refused < 200, "refused {refused} times");
            }
        }
    }
}
