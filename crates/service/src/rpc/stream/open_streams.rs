//! How many streams are open, and who they are in the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::error::ServiceError;
use crate::queue::fair_queue::{CallerId, FIRST_STREAM};

/// The streams of a service.
#[derive(Debug, Default)]
pub(crate) struct OpenStreams {
    open: AtomicUsize,
    opened: AtomicU64,
}

/// A stream's place among those that may be open.
pub(super) struct StreamPlace {
    streams: Arc<OpenStreams>,
    /// Who the stream is in the queue.
    pub(super) caller: CallerId,
}

impl OpenStreams {
    /// Takes a place among so many.
    pub(super) fn enter(self: &Arc<Self>, limit: usize) -> Result<StreamPlace, ServiceError> {
        let in_use = self.open.fetch_add(1, Ordering::AcqRel);
        let caller = FIRST_STREAM + self.opened.fetch_add(1, Ordering::Relaxed);
        let place = StreamPlace { streams: Arc::clone(self), caller };
        if in_use < limit { Ok(place) } else { Err(ServiceError::TooManyStreams { limit }) }
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.streams.open.fetch_sub(1, Ordering::AcqRel);
    }
}
