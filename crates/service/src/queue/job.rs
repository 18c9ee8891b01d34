//! A clip in the queue: what it carries, and how it ends when it is not computed.

use std::time::Duration;

use protoguard_core::{ClipScore, ScorerInput};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tonic::Code;

use crate::error::ServiceError;
use crate::metrics::{Gauged, ModelMetrics, Stage, outcome_of};
use crate::queue::admission::Permit;
use crate::queue::fair_queue::Arrived;

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
    /// The same for a forward pass that hangs and can say nothing itself.
    pub(crate) request_id: String,
    /// Taken when the clip's forward pass begins.
    pub(crate) waiting: Option<[Gauged; 2]>,
    pub(crate) metrics: ModelMetrics,
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

/// Why a clip is not computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lapse {
    /// Its deadline has passed.
    Expired,
    /// Its deadline would pass before its forward pass ends.
    Hopeless,
    /// Its caller is gone.
    Cancelled,
}

impl Job {
    /// The job as the queue takes it.
    pub(crate) fn arrived(self) -> Arrived<Self> {
        Arrived { caller: self.ticket.permit.caller(), job: self }
    }
}

impl Ticket {
    /// The check of deadlines after the queue: why computing the clip serves nobody, where a forward pass that starts now takes `compute`.
    pub(crate) fn lapse(&self, now: Instant, compute: Duration) -> Option<Lapse> {
        match self.deadline {
            Some(deadline) if deadline <= now => Some(Lapse::Expired),
            _ if self.reply.is_closed() => Some(Lapse::Cancelled),
            Some(deadline) if deadline < now + compute => Some(Lapse::Hopeless),
            _ => None,
        }
    }

    /// Ends a job that is not computed.
    pub(crate) fn lapsed(self, lapse: Lapse) {
        let late = |at| Err(ServiceError::DeadlineExceeded { at });
        let (code, answer) = match lapse {
            Lapse::Expired => (Code::DeadlineExceeded, late("in the queue")),
            Lapse::Hopeless => {
                (Code::DeadlineExceeded, late("in the queue: the forward pass would end after it"))
            }
            // Nobody hears it.
            Lapse::Cancelled => (Code::Cancelled, late("after its caller was gone")),
        };
        if code == Code::Cancelled {
            self.metrics.cancelled();
        } else {
            self.metrics.expired();
        }
        self.metrics.took(Stage::Queue, outcome_of(code), self.enqueued_at.elapsed());
        self.answer(answer);
    }

    /// Answers the caller, who may be gone, and makes room for the next clip.
    pub(crate) fn answer(self, answer: Result<Scored, ServiceError>) {
        drop((self.permit, self.waiting));
        // A caller that went away in the meantime needs no answer.
        let _ = self.reply.send(answer);
    }
}
