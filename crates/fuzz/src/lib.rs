//! Broken input for every reader of bytes that others made.
//!
//! Two ways, because the stable compiler can count coverage but libtorch is slow to build twice:
//! the readers of the network (`request`, `image`) are targets of libFuzzer, built with coverage
//! counters by `cargo xtask fuzz`; the readers of files (checkpoints, configurations) are tests of
//! their own crates, which draw from a [`Mutator`] for as long as a [`Budget`] lasts.

mod budget;
mod mutator;
#[cfg(feature = "targets")]
pub mod seeds;
mod trial;

pub use budget::{Budget, SECONDS_VARIABLE, SEED_VARIABLE};
pub use mutator::Mutator;
pub use trial::trial;

/// Takes libFuzzer's panic hook away, which ends the process before a panic can be caught: the
/// decoder of pictures catches those of its codecs. A panic that nobody catches still ends it.
pub fn let_caught_panics_pass() {
    drop(std::panic::take_hook());
}
