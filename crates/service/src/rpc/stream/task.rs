//! The loop of a stream: frames in, answers out, until one of the two sides ends it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use protoguard_core::CameraState;
use protoguard_proto::v1::score_stream_request::Message as Asked;
use protoguard_proto::v1::score_stream_response::Message;
use protoguard_proto::{FieldViolation, Opening, StreamMode, Violations, v1};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::{Span, debug};

use super::super::call::Call;
use super::super::context::Context;
use super::super::status::status_in_our_words;
use super::answers::Answers;
use super::frames::Frames;
use super::judge::Judge;
use super::open_streams::StreamPlace;
use super::outbox::Outbox;
use super::pending::Pending;
use super::resume::{Resume, Subject};
use crate::error::{ServiceError, Unavailable};
use crate::metrics::Gauged;
use crate::registry::models::Registry;
use crate::transport::credentials::Standing;

/// Frames of a file that are on their way at once: enough for the workers never to wait.
const AHEAD: usize = 16;
/// Answers of a camera's frames that wait for one before them, at most; further frames are not read
/// until that one is answered.
const BEHIND: usize = 256;
/// Time for the answers of what was read, where the server ends a stream.
const HANDOVER: Duration = Duration::from_secs(10);
/// An age is drawn from so much around the configured one, so that streams that began together do
/// not end together.
const AGE_JITTER: f64 = 0.1;

/// A stream that was called for.
pub(super) struct StreamTask {
    pub(super) context: Context,
    pub(super) call: Call,
    pub(super) inbound: Streaming<v1::ScoreStreamRequest>,
    pub(super) outbox: Outbox,
}

/// What may end a stream from outside.
pub(super) struct Lifelines {
    pub(super) deadline: Option<Instant>,
    pub(super) draining: CancellationToken,
    pub(super) max_age: Option<Duration>,
    /// The caller's credential, where there is any to be held.
    pub(super) standing: Option<Standing>,
    /// How often the credential is checked.
    pub(super) look_interval: Duration,
    pub(super) outbox: Outbox,
}

/// Why a stream ends from outside.
enum Cut {
    /// The caller may begin another where this one ended.
    Handover(v1::StreamClosingReason, Unavailable),
    Error(ServiceError),
    /// The caller is gone.
    Gone,
}

impl Lifelines {
    /// Resolves when the stream must end.
    async fn cut(self) -> Cut {
        let age = |age: Duration| {
            let drawn = 1.0 + AGE_JITTER * (2.0 * fastrand::f64() - 1.0);
            Instant::now() + age.mul_f64(drawn)
        };
        tokio::select! {
            () = self.outbox.closed() => Cut::Gone,
            () = at(self.deadline) => {
                Cut::Error(ServiceError::DeadlineExceeded { at: "while the stream was open" })
            }
            () = self.draining.cancelled() => {
                Cut::Handover(v1::StreamClosingReason::Draining, Unavailable::Draining)
            }
            () = at(self.max_age.map(age)) => {
                Cut::Handover(v1::StreamClosingReason::Age, Unavailable::StreamAge)
            }
            error = refused(self.standing.as_ref(), self.look_interval) => Cut::Error(error),
        }
    }
}

/// Resolves at a time, or never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Resolves when the caller's credential is no longer one.
async fn refused(standing: Option<&Standing>, interval: Duration) -> ServiceError {
    let Some(standing) = standing else { return std::future::pending().await };
    loop {
        sleep(interval).await;
        if let Err(error) = standing.check() {
            return error;
        }
    }
}

/// A stream that has begun.
struct Watching {
    context: Context,
    mode: StreamMode,
    inbound: Streaming<v1::ScoreStreamRequest>,
    frames: Frames,
    answers: Answers,
    pending: Pending,
    _place: StreamPlace,
    _gauge: Gauged,
}

impl StreamTask {
    /// Answers until the stream ends; well where its caller ended it.
    pub(super) async fn run(self, lifelines: Lifelines) -> Result<(), Status> {
        let mut cut = std::pin::pin!(lifelines.cut());
        let registry = Arc::clone(&self.context.registry);
        let begun = tokio::select! {
            biased;
            cut = cut.as_mut() => return unbegun(cut, &registry),
            begun = self.begin() => begun?,
        };
        let Some(mut watching) = begun else { return Ok(()) };
        match watching.watch(cut).await {
            Ok(Some(Cut::Handover(reason, why))) => watching.hand_over(reason, why).await,
            Ok(Some(Cut::Error(error))) => Err(watching.broken_off(error.into()).await),
            Ok(Some(Cut::Gone) | None) => Ok(()),
            Err(status) => Err(watching.broken_off(status).await),
        }
    }

    /// Reads and checks the opening; nothing where the caller said nothing and went.
    async fn begin(mut self) -> Result<Option<Watching>, Status> {
        let limit = self.context.config.max_message_bytes;
        let first = self.inbound.message().await;
        let first = first.map_err(|status| status_in_our_words(status, limit))?;
        let opening = match first.map(|request| request.message) {
            None => return Ok(None),
            Some(Some(Asked::Opening(opening))) => Opening::try_from(opening),
            Some(_) => {
                let description = "is absent; the first message of a stream is an opening";
                Err(FieldViolation::new("opening", description).into())
            }
        };
        let opening = opening.map_err(ServiceError::from)?;
        Ok(Some(self.watching(opening).await?))
    }

    async fn watching(self, mut opening: Opening) -> Result<Watching, ServiceError> {
        let Self { context, call, inbound, outbox } = self;
        Span::current().record("camera", &opening.camera);
        let place = context.streams.enter(context.config.streams.max_streams)?;
        let model = context.registry.find(opening.model.as_ref())?;
        call.asked_model.set(&model.slot().name);
        model.intake().check_ready()?;
        let gauge = model.metrics().stream();
        let judge = Judge::new(model, &opening, &context.config)?;
        judge.check_outputs(&opening)?;
        let subject = Subject::new(&opening, &judge);
        let key = context.credentials.resume_key();
        let token = std::mem::take(&mut opening.resume_token);
        let resume = Resume::of(&token, &subject, &key)?;
        let watch = resume.as_ref().map(|resume| resume.watch).unwrap_or_default();
        let is_gray = watch.state() == Some(CameraState::ColourLost);
        let night = is_gray.then(|| judge.by_night(&opening, &context.config)).flatten();
        let opening = Arc::new(opening);
        let day = Arc::new(judge);
        let judge = night.map_or_else(|| Arc::clone(&day), Arc::new);
        debug!(model = %judge.model.slot(), mode = ?opening.mode, "stream opened");
        let mode = opening.mode;
        let frames =
            Frames::new(context.clone(), Arc::clone(&opening), place.caller, Arc::clone(&judge))
                .watching(&day, watch);
        let draining = context.draining.clone();
        let mut answers = Answers::new(outbox, draining, opening, judge, resume);
        answers.open().await?;
        let pending = Pending::default();
        Ok(Watching {
            context,
            mode,
            inbound,
            frames,
            answers,
            pending,
            _place: place,
            _gauge: gauge,
        })
    }
}

/// How a stream ends that was cut before it began.
fn unbegun(cut: Cut, registry: &Registry) -> Result<(), Status> {
    match cut {
        Cut::Gone => Ok(()),
        Cut::Error(error) => Err(error.into()),
        Cut::Handover(_, why) => {
            let model = registry.names().default_model.to_string();
            Err(ServiceError::Unavailable { model, why }.into())
        }
    }
}

impl Watching {
    /// Takes frames and answers them until the caller has sent the last, or the stream is cut: at
    /// once, but for the answer or the frame at hand.
    async fn watch(
        &mut self,
        mut cut: Pin<&mut impl Future<Output = Cut>>,
    ) -> Result<Option<Cut>, Status> {
        let limit = self.context.config.max_message_bytes;
        let mut is_over = false;
        while !is_over || self.pending.len() > 0 {
            tokio::select! {
                biased;
                cut = cut.as_mut() => return Ok(Some(cut)),
                Some(item) = self.pending.next() => self.answers.deliver(item).await?,
                asked = self.inbound.message(), if !is_over && self.has_room() => {
                    match asked.map_err(|status| status_in_our_words(status, limit))? {
                        Some(request) => self.take(request).await?,
                        None => is_over = true,
                    }
                }
            }
        }
        self.answers.finish().await?;
        Ok(None)
    }

    /// Whether another frame may be read before the ones that were are answered.
    fn has_room(&self) -> bool {
        match self.mode {
            StreamMode::Live => self.pending.len() < BEHIND,
            StreamMode::Lossless => self.pending.len() < AHEAD,
        }
    }

    async fn take(&mut self, request: v1::ScoreStreamRequest) -> Result<(), ServiceError> {
        match request.message {
            Some(Asked::Frame(frame)) => self.frames.take(frame, &mut self.pending).await,
            Some(Asked::Opening(_)) => {
                let description = "is there again; only the first message of a stream is one";
                Err(Violations::from(FieldViolation::new("opening", description)).into())
            }
            None => {
                let description = "is absent; every message after the first is a frame";
                Err(Violations::from(FieldViolation::new("frame", description)).into())
            }
        }
    }

    async fn deliver_all(&mut self) -> Result<(), ServiceError> {
        while let Some(item) = self.pending.next().await {
            self.answers.deliver(item).await?;
        }
        Ok(())
    }

    /// Answers what was read, as far as that is quick, and ends the alarm: nobody goes on with it.
    async fn broken_off(&mut self, status: Status) -> Status {
        // The stream ends for another reason than that its caller does not read the last words.
        let _ = timeout(HANDOVER, self.deliver_all()).await;
        let _ = self.answers.finish().await;
        status
    }

    /// Answers what was read, and gives the caller what another server needs to go on.
    async fn hand_over(
        mut self,
        reason: v1::StreamClosingReason,
        why: Unavailable,
    ) -> Result<(), Status> {
        // What is not answered by then, the caller sends again.
        match timeout(HANDOVER, self.deliver_all()).await {
            Ok(delivered) => delivered?,
            Err(_) => debug!(waiting = self.pending.len(), "frames are handed over unanswered"),
        }
        let resume = self.answers.resume(self.frames.watch_memory());
        let model = resume.subject.model().to_owned();
        let resume_token = resume.token(&self.context.credentials.resume_key()).into();
        let closing = v1::StreamClosing { reason: reason.into(), resume_token };
        self.answers.send(Message::Closing(closing)).await?;
        Err(ServiceError::Unavailable { model, why }.into())
    }
}
