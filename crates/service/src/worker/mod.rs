//! The threads that compute.

pub(crate) mod batch;
pub(crate) mod crew;
mod thread;
pub(crate) mod turns;
pub(crate) mod watchdog;
