//! What clips wait in, from their admission to a worker's hands: how many there may be, whose turn
//! it is, and when a batch starts. Knows workers by their channels alone.

pub(crate) mod admission;
pub(crate) mod batcher;
pub(crate) mod dispatcher;
pub(crate) mod estimate;
pub(crate) mod fair_queue;
pub(crate) mod intake;
pub(crate) mod job;
