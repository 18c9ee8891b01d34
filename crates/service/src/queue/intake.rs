//! Where a model's clips come in: each takes its room first, and waits for its answer then.

use std::sync::Arc;

use protoguard_core::ScorerInput;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::admission::{Admission, Permit, Refusal};
use super::batcher::{Event, ModelState};
use super::estimate::Pace;
use super::fair_queue::CallerId;
use super::job::{Job, Scored, Ticket};
use crate::error::{ServiceError, Unavailable};
use crate::metrics::{Gauged, ModelMetrics};

/// The side of a model's queue that requests see.
pub(crate) struct Intake {
    /// The model's place, as errors name it.
    pub(crate) model: String,
    pub(crate) admission: Arc<Admission>,
    pub(crate) pace: Arc<Pace>,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) state: watch::Receiver<ModelState>,
    /// Cancelled when the model is closed.
    pub(crate) closed: CancellationToken,
    pub(crate) metrics: ModelMetrics,
}

/// Why a clip is not admitted.
pub(crate) enum NotAdmitted {
    /// Another model stands in this one's place: it is to be asked.
    Replaced,
    Refused(ServiceError),
}

/// A clip that was admitted and is now being decoded.
pub(crate) struct Admitted {
    permit: Permit,
    in_flight: InFlight,
}

/// A request from its admission to its end. One that ends before its answer is counted, and the
/// batcher is told of it, so that its clip makes room at once.
struct InFlight {
    events: mpsc::UnboundedSender<Event>,
    metrics: ModelMetrics,
    deadline: Option<Instant>,
    step: Step,
    _gauge: Gauged,
}

/// How far an admitted clip has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Decoding,
    /// The queue accounts for it.
    Queued,
    /// It cannot be decoded, or is answered.
    Settled,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        match self.step {
            Step::Decoding if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                self.metrics.expired();
            }
            Step::Decoding => self.metrics.cancelled(),
            Step::Queued => {
                // The batcher has ended only when the service has.
                let _ = self.events.send(Event::GivenUp);
            }
            Step::Settled => {}
        }
    }
}

impl Admitted {
    /// The clip turned out to be none.
    pub(crate) fn refuse(&mut self) {
        self.in_flight.step = Step::Settled;
    }
}

impl Intake {
    /// The check of deadlines before the queue: whether the clips ahead of this caller's next would
    /// make it too late. They are those that were admitted, at their best pace, so that nobody is
    /// sent away who could be answered.
    pub(crate) fn is_too_late(&self, caller: CallerId, deadline: Option<Instant>) -> bool {
        let wait = || self.pace.until_answered(self.admission.ahead_of(caller));
        deadline.is_some_and(|deadline| deadline < Instant::now() + wait())
    }

    /// Counts and names a clip that would be too late.
    pub(crate) fn too_late(&self) -> ServiceError {
        self.metrics.expired();
        ServiceError::DeadlineExceeded { at: "before the queue: its wait would end after it" }
    }

    /// Whether there are workers.
    pub(crate) fn check_ready(&self) -> Result<(), ServiceError> {
        match *self.state.borrow() {
            ModelState::Loading => Err(self.unavailable(Unavailable::Loading)),
            ModelState::Lost(_) => Err(self.unavailable(Unavailable::NoWorker)),
            ModelState::Ready => Ok(()),
        }
    }

    /// Takes room for a clip before anything is decoded.
    pub(crate) fn admit(
        &self,
        bytes: usize,
        caller: CallerId,
        deadline: Option<Instant>,
    ) -> Result<Admitted, NotAdmitted> {
        self.check_ready().map_err(NotAdmitted::Refused)?;
        if self.is_too_late(caller, deadline) {
            return Err(NotAdmitted::Refused(self.too_late()));
        }
        let permit = self.admission.admit(caller, bytes).map_err(|refusal| match refusal {
            Refusal::Closed => NotAdmitted::Replaced,
            Refusal::Overloaded(full) => NotAdmitted::Refused(ServiceError::Overloaded {
                model: self.model.clone(),
                unit: full.unit,
                in_use: full.in_use,
                limit: full.limit,
            }),
        })?;
        let in_flight = InFlight {
            events: self.events.clone(),
            metrics: self.metrics.clone(),
            deadline,
            step: Step::Decoding,
            _gauge: self.metrics.admitted(),
        };
        Ok(Admitted { permit, in_flight })
    }

    /// Queues a decoded clip and waits for its scores.
    pub(crate) async fn score(
        &self,
        admitted: Admitted,
        input: ScorerInput,
        request_id: String,
    ) -> Result<Scored, ServiceError> {
        let Admitted { permit, mut in_flight } = admitted;
        let (reply, answer) = oneshot::channel();
        let ticket = Ticket {
            reply,
            deadline: in_flight.deadline,
            enqueued_at: Instant::now(),
            waiting: Some(self.metrics.waiting(permit.bytes())),
            permit,
            span: tracing::Span::current(),
            request_id,
            metrics: self.metrics.clone(),
        };
        let gone = || {
            let draining = self.closed.is_cancelled();
            self.unavailable(if draining { Unavailable::Draining } else { Unavailable::NoWorker })
        };
        in_flight.step = Step::Queued;
        let job = Box::new(Job { input, ticket });
        self.events.send(Event::Enqueue(job)).map_err(|_| gone())?;
        let answer = answer.await.map_err(|_| gone())?;
        in_flight.step = Step::Settled;
        answer
    }

    fn unavailable(&self, why: Unavailable) -> ServiceError {
        ServiceError::Unavailable { model: self.model.clone(), why }
    }
}
