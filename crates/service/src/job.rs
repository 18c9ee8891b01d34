use std::time::Duration;

use protoguard_core::{ClipScore, ScorerInput};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::ServiceError;
use crate::admission::Permit;

/// One clip on its way through the queue.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) input: ScorerInput,
    pub(crate) ticket: Ticket,
}

/// What is left of a job once its clip has joined a batch.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) reply: oneshot::Sender<Result<Scored, ServiceError>>,
    /// After it the caller no longer listens.
    pub(crate) deadline: Option<Instant>,
    pub(crate) enqueued_at: Instant,
    /// Held until the answer, because the clip's bytes live as long.
    pub(crate) permit: Permit,
    /// The request's span, so that the worker's words about a clip carry its `request_id`.
    pub(crate) span: tracing::Span,
}

/// A clip's scores and how they came about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scored {
    pub(crate) score: ClipScore,
    pub(crate) queue: Duration,
    /// Of the forward pass of the whole batch.
    pub(crate) compute: Duration,
    pub(crate) batch_size: usize,
}

impl Job {
    /// Whether computing it still serves somebody.
    pub(crate) fn is_needed(&self, now: Instant) -> bool {
        !self.ticket.reply.is_closed() && !self.ticket.is_expired(now)
    }
}

impl Ticket {
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Answers the caller, who may be gone, and makes room for the next clip.
    pub(crate) fn answer(self, answer: Result<Scored, ServiceError>) {
        drop(self.permit);
        // A caller that went away in the meantime needs no answer.
        let _ = self.reply.send(answer);
    }
}
