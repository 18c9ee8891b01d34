//! Batches made ahead of the one in use, on a thread of their own.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::DatasetError;

/// Batches in their order; an error is the last item. The thread ends with this value.
#[derive(Debug)]
pub(crate) struct Prefetched<T> {
    batches: Option<Receiver<Result<T, DatasetError>>>,
    thread: Option<JoinHandle<()>>,
}

/// Where a thread puts the batches that it makes.
pub(crate) struct Outlet<T>(SyncSender<Result<T, DatasetError>>);

impl<T> Outlet<T> {
    /// Hands over a batch, as soon as there is room for it; whether another is wanted.
    #[must_use]
    pub(crate) fn put(&self, batch: Result<T, DatasetError>) -> bool {
        let failed = batch.is_err();
        self.0.send(batch).is_ok() && !failed
    }
}

impl<T: Send + 'static> Prefetched<T> {
    /// Runs `make` on a thread, at most `ahead` batches, but at least one, before the reader.
    pub(crate) fn start(ahead: usize, make: impl FnOnce(&Outlet<T>) + Send + 'static) -> Self {
        let (sender, batches) = sync_channel(ahead.max(1));
        let thread = std::thread::spawn(move || make(&Outlet(sender)));
        Self { batches: Some(batches), thread: Some(thread) }
    }
}

impl<T> Iterator for Prefetched<T> {
    type Item = Result<T, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.as_ref()?.recv().ok()
    }
}

impl<T> Drop for Prefetched<T> {
    fn drop(&mut self) {
        // Without a receiver the thread's next batch is not wanted and it returns.
        drop(self.batches.take());
        if let Some(thread) = self.thread.take() {
            // Its panic would already have been seen as batches that end early.
            let _ = thread.join();
        }
    }
}
