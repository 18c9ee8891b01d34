//! When clips ride together.
//!
//! The alternatives were a timer that every batch waits for, which makes a lone clip pay for
//! company that never comes, and forming the next batch as soon as a worker has started one, which
//! freezes it while it is small. Here a batch is formed when a worker is free, of all that waits;
//! only a full batch is handed to a worker ahead of time, since waiting cannot make it larger. A
//! delay, where one is configured, is used only while admitted clips are still being decoded.

use std::time::Duration;

/// The two numbers of dynamic batching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPolicy {
    /// Clips of a forward pass, at most.
    pub max_batch_size: usize,
    /// How long the first clip of a batch may wait on an idle worker while more is arriving.
    pub max_batch_delay: Duration,
}

/// What the policy decides from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// Clips that wait.
    pub waiting: usize,
    /// Since when the first of them waits.
    pub oldest_wait: Duration,
    /// Admitted clips that are still being decoded.
    pub arriving: usize,
    /// Whether a worker has nothing to do.
    pub idle_worker: bool,
    /// Whether a busy worker has room for its next batch.
    pub open_slot: bool,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Give a worker this many clips, the oldest first.
    Take(usize),
    /// Decide again after this time, or at the next event.
    WaitFor(Duration),
    /// Decide again at the next event.
    Wait,
}

impl BatchPolicy {
    /// Whether a batch starts now.
    pub fn decide(&self, view: &QueueView) -> Decision {
        if view.waiting >= self.max_batch_size && (view.idle_worker || view.open_slot) {
            return Decision::Take(self.max_batch_size);
        }
        if view.waiting == 0 || !view.idle_worker {
            return Decision::Wait;
        }
        match self.max_batch_delay.checked_sub(view.oldest_wait) {
            Some(left) if view.arriving > 0 && !left.is_zero() => Decision::WaitFor(left),
            _ => Decision::Take(view.waiting),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: BatchPolicy =
        BatchPolicy { max_batch_size: 4, max_batch_delay: Duration::from_millis(5) };

    fn view(waiting: usize) -> QueueView {
        QueueView {
            waiting,
            oldest_wait: Duration::ZERO,
            arriving: 0,
            idle_worker: true,
            open_slot: false,
        }
    }

    #[test]
    fn a_lone_clip_on_an_idle_worker_waits_for_no_timer() {
        assert_eq!(POLICY.decide(&view(1)), Decision::Take(1));
    }

    #[test]
    fn the_delay_is_used_only_while_more_is_arriving_and_never_twice() {
        let arriving = QueueView { arriving: 1, ..view(2) };
        assert_eq!(POLICY.decide(&arriving), Decision::WaitFor(Duration::from_millis(5)));
        let later = QueueView { oldest_wait: Duration::from_millis(5), ..arriving };
        assert_eq!(POLICY.decide(&later), Decision::Take(2));
    }

    #[test]
    fn only_a_full_batch_is_handed_to_a_busy_worker() {
        let busy = |waiting| QueueView { idle_worker: false, open_slot: true, ..view(waiting) };
        assert_eq!(POLICY.decide(&busy(3)), Decision::Wait);
        assert_eq!(POLICY.decide(&busy(4)), Decision::Take(4));
        assert_eq!(POLICY.decide(&busy(9)), Decision::Take(4));
    }

    proptest! {
        #[test]
        fn what_is_taken_is_there_and_fits(
            waiting in 0usize..40,
            wait_ms in 0u64..10,
            arriving in 0usize..3,
            idle_worker: bool,
            open_slot: bool,
        ) {
            let oldest_wait = Duration::from_millis(wait_ms);
            let view = QueueView { waiting, oldest_wait, arriving, idle_worker, open_slot };
            match POLICY.decide(&view) {
                Decision::Take(count) => {
                    prop_assert!(count >= 1 && count <= waiting && count <= POLICY.max_batch_size);
                    prop_assert!(idle_worker || (open_slot && count == POLICY.max_batch_size));
                }
                Decision::WaitFor(left) => {
                    prop_assert!(idle_worker && arriving > 0 && waiting > 0);
                    prop_assert!(oldest_wait + left <= POLICY.max_batch_delay);
                }
                Decision::Wait => prop_assert!(waiting == 0 || !idle_worker),
            }
        }
    }
}
