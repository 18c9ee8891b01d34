//! The threads that compute: each owns one replica, takes batches from a queue and answers every
//! clip. Devices are shared in turns, and a pass that hangs is told.

pub(crate) mod batch;
pub(crate) mod crew;
mod thread;
pub(crate) mod turns;
pub(crate) mod watchdog;
