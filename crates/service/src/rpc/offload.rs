//! Work that would block the async runtime, on rayon's threads.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use crate::error::ServiceError;

/// Runs `work` on rayon; not at all when the caller is gone by the time a thread is free.
///
/// # Errors
/// When `work` panics: on a bare rayon thread that would end the process.
pub(crate) async fn offload<T: Send + 'static>(
    step: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ServiceError> {
    let (sender, receiver) = oneshot::channel();
    rayon::spawn(move || {
        if sender.is_closed() {
            return;
        }
        if let Ok(done) = catch_unwind(AssertUnwindSafe(work)) {
            // The caller may have gone while it was computed.
            let _ = sender.send(done);
        }
    });
    receiver.await.map_err(|_| ServiceError::Internal { step })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_internal_error_and_ends_nothing() {
        let panicked = offload("decoding", || panic!("odd bytes")).await;
        assert_eq!(panicked, Err::<(), _>(ServiceError::Internal { step: "decoding" }));
        assert_eq!(offload("decoding", || 7).await, Ok(7));
    }
}
