//! The dispatcher without a server, for benchmarks.

use tokio::time::Instant;

use crate::queue::dispatcher::{BatchPolicy, Dispatch, Dispatcher};
use crate::queue::fair_queue::Arrived;

/// The batches that one worker takes from a queue of `clips`, numbered from 0, that came from
/// `callers` in turn.
pub fn batches_of(policy: BatchPolicy, clips: u64, callers: u64) -> Vec<Vec<u64>> {
    let now = Instant::now();
    let mut dispatcher = Dispatcher::new(policy, 1);
    for job in 0..clips {
        dispatcher.push(Arrived { job, caller: job % callers });
    }
    let mut batches = Vec::new();
    dispatcher.ready(0);
    while let Some(Dispatch { worker, jobs }) = dispatcher.next_batch(now) {
        batches.push(jobs);
        dispatcher.done(worker, now);
    }
    batches
}
