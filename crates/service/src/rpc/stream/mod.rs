//! `ScoreStream`: one call a camera.
//!
//! Frames come in one by one. [`frames`] lays them on the model's grid, decodes them, watches the
//! picture and fills the window; what is scored goes through the same admission and queue as a clip.
//! [`answers`] takes what becomes of them in their order, smooths, raises the alarm and answers.
//! [`task`] is the loop between the two, and says when a stream ends. [`judge`] is what scores rest
//! on, [`resume`] what another server needs to go on.
//!
//! Memory of a stream is bounded by its window, one frame that is decoded, the clips that it has in
//! the queue, and the answers that wait for their reader.

mod answers;
mod frames;
mod judge;
mod pending;
mod resume;
mod task;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use protoguard_proto::v1;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::Stream;
use tonic::{Request, Status, Streaming};
use tracing::{Instrument, info_span};

use super::scoring_service::{Call, Scoring};
use crate::error::ServiceError;
use crate::queue::fair_queue::CallerId;
use crate::transport::credentials::Standing;
use crate::transport::trace_context::TraceContext;
use task::{Lifelines, StreamTask};

/// Answers that may wait for their reader.
const WAITING_ANSWERS: usize = 256;
/// Streams take turns as callers of their own, apart from connections.
const STREAM_CALLERS: CallerId = 1 << 63;

/// The streams of a service.
#[derive(Debug, Default)]
pub(crate) struct OpenStreams {
    open: AtomicUsize,
    opened: AtomicU64,
}

/// A stream's place among those that may be open.
pub(super) struct StreamPlace {
    streams: Arc<OpenStreams>,
    caller: CallerId,
}

impl OpenStreams {
    fn enter(self: &Arc<Self>, limit: usize) -> Result<StreamPlace, ServiceError> {
        let in_use = self.open.fetch_add(1, Ordering::AcqRel);
        let caller = STREAM_CALLERS | self.opened.fetch_add(1, Ordering::Relaxed);
        let place = StreamPlace { streams: Arc::clone(self), caller };
        if in_use < limit { Ok(place) } else { Err(ServiceError::TooManyStreams { limit }) }
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.streams.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a caller reads: answers, and then how the stream ended.
pub(crate) struct StreamAnswers {
    answers: mpsc::Receiver<v1::ScoreStreamResponse>,
    end: oneshot::Receiver<Status>,
}

impl Stream for StreamAnswers {
    type Item = Result<v1::ScoreStreamResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.answers.poll_recv(context) {
            Poll::Ready(Some(answer)) => Poll::Ready(Some(Ok(answer))),
            Poll::Ready(None) if self.end.is_terminated() => Poll::Ready(None),
            // Nothing is said of a stream that its caller ended.
            Poll::Ready(None) => Pin::new(&mut self.end).poll(context).map(|end| end.ok().map(Err)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Begins to answer a stream on a task of its own.
pub(super) fn start(
    scoring: Scoring,
    request: Request<Streaming<v1::ScoreStreamRequest>>,
) -> StreamAnswers {
    let (outbox, answers) = mpsc::channel(WAITING_ANSWERS);
    let (ended, end) = oneshot::channel();
    let extensions = request.extensions();
    let call = Call::of(extensions);
    let lifelines = Lifelines {
        deadline: call.deadline,
        draining: scoring.draining.clone(),
        max_age: scoring.config.streams.max_age,
        standing: extensions.get::<Standing>().cloned(),
        look_interval: scoring.config.look_interval,
        outbox: outbox.clone(),
    };
    let span = info_span!("score_stream", camera = tracing::field::Empty);
    let caller = TraceContext::of(request.metadata());
    if let (Some(traces), Some(caller)) = (&scoring.traces, caller) {
        traces.join(&span, &caller);
    }
    let task = StreamTask { scoring, call, inbound: request.into_inner(), outbox };
    let answered = async move {
        if let Err(status) = task.run(lifelines).await {
            tracing::debug!(code = ?status.code(), reason = status.message(), "stream ended");
            // A caller that is gone needs no reason.
            let _ = ended.send(status);
        }
    };
    tokio::spawn(answered.instrument(span));
    StreamAnswers { answers, end }
}
