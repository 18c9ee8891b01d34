//! How many bytes of messages may arrive at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::ServiceError;

/// The bound on the bytes of all messages that arrive and are not yet admitted.
///
/// HTTP/2's windows bound what a stream or a connection may send ahead, and `max_message_bytes`
/// one message; neither counts how many there are. Only bytes that came are counted, never a
/// length that was claimed: a claim costs its caller nothing.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    limit: usize,
    in_use: AtomicUsize,
}

/// What one message holds of the budget; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Holding {
    budget: Arc<ByteBudget>,
    bytes: usize,
}

impl ByteBudget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, in_use: AtomicUsize::new(0) })
    }

    pub(super) fn hold_nothing(self: &Arc<Self>) -> Holding {
        Holding { budget: Arc::clone(self), bytes: 0 }
    }
}

impl Holding {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes `bytes` more. A message alone gets all that it asks for, so that none that is
    /// accepted elsewhere is refused here for ever.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), ServiceError> {
        let limit = self.budget.limit;
        let more = |in_use: usize| {
            let is_alone = in_use == self.bytes;
            let sum = in_use.saturating_add(bytes);
            (is_alone || sum <= limit).then_some(sum)
        };
        match self.budget.in_use.fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(in_use) => Err(ServiceError::ReceivingTooMuch { in_use, limit }),
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.budget.in_use.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_all_messages_are_bounded_and_come_back() {
        let budget = ByteBudget::new(100);
        let mut first = budget.hold_nothing();
        let mut second = budget.hold_nothing();
        first.take(60).unwrap();
        second.take(40).unwrap();
        let full = ServiceError::ReceivingTooMuch { in_use: 100, limit: 100 };
        assert_eq!(second.take(1), Err(full.clone()));
        assert_eq!(first.take(1), Err(full));
        drop(second);
        first.take(40).unwrap();
        drop(first);
        assert_eq!(budget.in_use.load(Ordering::Acquire), 0);
    }

    #[test]
    fn a_message_alone_may_be_larger_than_the_budget() {
        let budget = ByteBudget::new(100);
        let mut large = budget.hold_nothing();
        let mut small = budget.hold_nothing();
        large.take(60).unwrap();
        large.take(60).unwrap();
        assert!(small.take(1).is_err());
        drop(large);
        small.take(1).unwrap();
    }
}
