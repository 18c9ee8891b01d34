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

/// Threads of libtorch's kernels in this thread and its backward pass; 0 leaves libtorch's own
/// choice, one a core.
pub(crate) fn set_threads(threads: usize) {
    if let Ok(threads @ 1..) = i32::try_from(threads) {
        tch::set_num_threads(threads);
    }
}
