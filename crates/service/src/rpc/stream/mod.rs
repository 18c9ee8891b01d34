//! `ScoreStream`: one call a camera.
//!
//! Frames come in one by one. [`frames`] lays them on the model's grid, decodes them, watches the
//! picture and fills the window; what is scored goes through the same admission and queue as a clip.
//! [`answers`] takes what becomes of them in their order, smooths, raises the alarm and answers.
//! [`task`] is the loop between the two, and says when a stream ends. [`judge`] is what scores rest
//! on, [`resume`] what another server needs to go on.
//!
//! Memory of a stream is bounded by its window, the longest message that came (tonic keeps its
//! buffer), one frame that is decoded, the clips that it has in the queue, and the answers that wait
//! for their reader.

mod answers;
mod frames;
mod judge;
pub(crate) mod open_streams;
mod outbox;
mod pending;
mod plan;
mod resume;
mod task;

use protoguard_proto::v1;
use tokio::sync::oneshot;
use tonic::{Request, Streaming};
use tracing::{Instrument, info_span};

use super::call::Call;
use super::context::Context as Answering;
use crate::transport::credentials::Standing;
use crate::transport::trace_context::TraceContext;
use outbox::outbox;
use task::{Lifelines, StreamTask};

pub(crate) use outbox::StreamAnswers;

/// Begins to answer a stream on a task of its own.
pub(super) fn start(
    context: Answering,
    request: Request<Streaming<v1::ScoreStreamRequest>>,
) -> StreamAnswers {
    let (ended, end) = oneshot::channel();
    let (outbox, answers) = outbox(end);
    let extensions = request.extensions();
    let call = Call::of(extensions);
    let lifelines = Lifelines {
        deadline: call.deadline,
        draining: context.draining.clone(),
        max_age: context.config.streams.max_age,
        standing: extensions.get::<Standing>().cloned(),
        look_interval: context.config.look_interval,
        outbox: outbox.clone(),
    };
    let span = info_span!("score_stream", camera = tracing::field::Empty);
    context.join(&span, TraceContext::of(request.metadata()).as_ref());
    let task = StreamTask { context, call, inbound: request.into_inner(), outbox };
    let answered = async move {
        let end = task.run(lifelines).await;
        if let Err(status) = &end {
            tracing::debug!(code = ?status.code(), reason = status.message(), "stream ended");
        }
        // A caller that is gone needs no reason.
        let _ = ended.send(end);
    };
    tokio::spawn(answered.instrument(span));
    answers
}
