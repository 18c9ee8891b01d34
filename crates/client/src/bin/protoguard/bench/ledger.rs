//! What became of every request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use protoguard_proto::v1::Timings;
use tokio::sync::Notify;

/// One request and its one answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// When it should have been sent. In the open loop that is not when it was: a clip that waits
    /// behind others on this side waits for the server too.
    pub(crate) due: Instant,
    pub(crate) done: Instant,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Scored {
        /// Within the deadline, counted from when it was due.
        in_time: bool,
        timings: Timings,
    },
    Failed {
        /// A name of a gRPC code, or `UNREACHABLE`.
        code: String,
        message: String,
    },
}

impl Answer {
    pub(crate) fn scored(&self) -> Option<&Timings> {
        match &self.outcome {
            Outcome::Scored { timings, .. } => Some(timings),
            Outcome::Failed { .. } => None,
        }
    }

    pub(crate) fn is_good(&self) -> bool {
        matches!(self.outcome, Outcome::Scored { in_time: true, .. })
    }
}

/// Counts requests out and answers in.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    sent: AtomicU64,
    answers: Mutex<Vec<Answer>>,
    answered: Notify,
}

impl Ledger {
    /// Counts a request that is about to be sent.
    pub(crate) fn send(&self) {
        self.sent.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn record(&self, answer: Answer) {
        self.answers().push(answer);
        self.answered.notify_waiters();
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    pub(crate) fn in_flight(&self) -> u64 {
        // Read in this order: an answer is always to a request that was counted before.
        let answered = self.answers().len() as u64;
        self.sent() - answered
    }

    pub(crate) fn answers(&self) -> MutexGuard<'_, Vec<Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies of the answers after the first `count`, and how many there are with those: whoever
    /// looks at them long must not keep new ones waiting.
    pub(crate) fn answers_after(&self, count: usize) -> (Vec<Answer>, usize) {
        let answers = self.answers();
        (answers[count..].to_vec(), answers.len())
    }

    /// Waits until there are so many answers.
    pub(crate) async fn answered(&self, count: u64) {
        loop {
            let mut next = std::pin::pin!(self.answered.notified());
            next.as_mut().enable();
            if self.answers().len() as u64 >= count {
                return;
            }
            next.await;
        }
    }

    /// Waits until every request has its answer; nothing may be sent any more.
    pub(crate) async fn settled(&self) {
        self.answered(self.sent()).await;
    }
}
