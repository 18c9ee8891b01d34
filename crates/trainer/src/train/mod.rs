//! The `train` command: data, the loop over epochs, calibration, checkpoint.
//!
//! Beside the checkpoint that a run will write lies its state, `OUT.state`, while it is not
//! finished: all that `--resume` needs to go on as if nothing had happened.

mod adam;
mod data;
mod epochs;
mod failure;
mod finish;
mod keeping;
mod run;
mod saver;
mod schedule;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod threads;

use std::sync::OnceLock;

pub use adam::{Adam, NamedState};
pub use data::TrainingData;
pub use epochs::Epochs;
pub use failure::TrainError;
pub use finish::{Finished, checkpoint};
pub use keeping::Keeping;
pub use run::{Request, run, train};
pub use saver::{Saver, SaverError};
pub use schedule::CosineSchedule;
pub use state::{DataRecord, Position, StateError, TrainingState};
pub use step::{EpochRecord, Learner, LossMeter, MeanLosses, StepError};

/// Threads of libtorch's kernels in this thread and its backward pass; 0 for libtorch's own choice.
pub(crate) fn set_threads(threads: usize) {
    let own = own_threads();
    let threads = i32::try_from(if threads == 0 { own } else { threads }).unwrap_or(i32::MAX);
    if threads != tch::get_num_threads() {
        tch::set_num_threads(threads);
    }
}

/// As many threads as libtorch takes by itself: one a core, unless the environment says otherwise.
fn own_threads() -> usize {
    // What it takes is asked before any other number is set.
    static OWN: OnceLock<usize> = OnceLock::new();
    *OWN.get_or_init(|| usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1))
}
