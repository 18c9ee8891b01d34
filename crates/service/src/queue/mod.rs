//! What clips wait in, from their admission to a worker's hands.

pub(crate) mod admission;
pub(crate) mod batcher;
pub(crate) mod dispatcher;
pub(crate) mod estimate;
pub(crate) mod fair_queue;
pub(crate) mod intake;
pub(crate) mod job;
