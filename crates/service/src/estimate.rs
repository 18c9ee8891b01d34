//! How long a forward pass takes, from those that were measured.
//!
//! It serves to refuse clips that cannot be answered in time, so it leans to the low side: it
//! believes a faster pass at once and a slower one slowly, and every refusal lowers it, so that a
//! slow moment cannot shut everybody out for ever.

use std::time::Duration;

/// A slower pass moves the estimate by one part in so many.
const CAUTION: u32 = 8;

/// Measured durations by batch size.
#[derive(Debug, Default)]
pub(crate) struct ComputeEstimate {
    /// At the index of a batch size.
    by_size: Vec<Option<Duration>>,
}

impl ComputeEstimate {
    pub(crate) fn measured(&mut self, batch_size: usize, took: Duration) {
        if self.by_size.len() <= batch_size {
            self.by_size.resize(batch_size + 1, None);
        }
        let known = &mut self.by_size[batch_size];
        *known = Some(known.map_or(took, |known| match took.checked_sub(known) {
            Some(slower) => known + slower / CAUTION,
            None => took,
        }));
    }

    /// A batch of this size takes at least so long; zero while nothing is known. A batch takes no
    /// less than a smaller one.
    pub(crate) fn at_least(&self, batch_size: usize) -> Duration {
        let known = self.by_size.iter().take(batch_size + 1).rev();
        known.copied().flatten().next().unwrap_or_default()
    }

    /// A clip was refused because of the estimate.
    pub(crate) fn doubted(&mut self, batch_size: usize) {
        for known in self.by_size.iter_mut().take(batch_size + 1).flatten() {
            *known -= *known / CAUTION;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn an_unknown_size_is_at_least_the_nearest_smaller_one() {
        let mut estimate = ComputeEstimate::default();
        assert_eq!(estimate.at_least(4), Duration::ZERO);
        estimate.measured(2, ms(20));
        estimate.measured(8, ms(60));
        assert_eq!(estimate.at_least(1), Duration::ZERO);
        assert_eq!(estimate.at_least(7), ms(20));
        assert_eq!(estimate.at_least(100), ms(60));
    }

    #[test]
    fn it_falls_at_once_and_rises_slowly() {
        let mut estimate = ComputeEstimate::default();
        estimate.measured(1, ms(100));
        estimate.measured(1, ms(20));
        assert_eq!(estimate.at_least(1), ms(20));
        estimate.measured(1, ms(100));
        assert_eq!(estimate.at_least(1), ms(30));
    }

    proptest! {
        /// However wrong it became, clips whose deadline can be met are computed again.
        #[test]
        fn no_slow_moment_shuts_callers_out_for_ever(slow_ms in 1u64..1_000_000, size in 1usize..9) {
            let mut estimate = ComputeEstimate::default();
            estimate.measured(size, ms(slow_ms));
            let mut refused = 0;
            while estimate.at_least(size) > ms(1) {
                estimate.doubted(size);
                refused += 1;
                prop_assert!(refused < 200, "refused {refused} times");
            }
        }
    }
}
