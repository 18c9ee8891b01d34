//! Why a request is not answered. Rooms fail with these; `rpc::status` puts them on the wire.

use std::time::Duration;

use protoguard_proto::Violations;

/// Why a request is not answered with scores. Every variant has a row in the one table of codes, so
/// that no handler chooses one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The request contradicts itself or the model.
    #[error("{0}")]
    Invalid(#[from] Violations),
    /// No such model, or not in that version.
    #[error("model `{asked}` is not loaded; loaded are {}", listed(known))]
    UnknownModel {
        /// What the request named.
        asked: String,
        /// Every loaded model as `name@version`.
        known: Vec<String>,
    },
    /// The model has no calibration for the scene.
    #[error("scene `{asked}` has no calibration in model `{model}`; scenes are {}", listed(known))]
    UnknownScene {
        /// What the request named.
        asked: String,
        /// The model that was asked.
        model: String,
        /// Scenes with a calibration.
        known: Vec<String>,
    },
    /// The model's queue is full.
    #[error("model `{model}` is overloaded: {in_use} {unit} are in flight, {limit} are accepted")]
    Overloaded {
        /// The model whose queue is full.
        model: String,
        /// `clips` or `bytes`.
        unit: &'static str,
        /// In flight when the request came.
        in_use: usize,
        /// The bound.
        limit: usize,
    },
    /// Messages that are being received hold all the bytes that they may.
    #[error("overloaded: {in_use} bytes are being received, {limit} are accepted")]
    ReceivingTooMuch {
        /// Bytes of all messages when more of one came.
        in_use: usize,
        /// The bound.
        limit: usize,
    },
    /// As many streams are open as may be.
    #[error("overloaded: {limit} streams are open, which is as many as may be")]
    TooManyStreams {
        /// The bound.
        limit: usize,
    },
    /// A stream's caller does not read its answers.
    #[error("the caller does not read its answers: {waiting} wait, which is as many as may")]
    AnswersUnread {
        /// Answers that wait.
        waiting: usize,
    },
    /// The caller's deadline passed, noticed at some step.
    #[error("the deadline passed {at}")]
    DeadlineExceeded {
        /// Where it was noticed.
        at: &'static str,
    },
    /// Nobody can score now.
    #[error("model `{model}` cannot answer: {why}")]
    Unavailable {
        /// The model that was asked.
        model: String,
        /// Why.
        why: Unavailable,
    },
    /// No credential, or one that is not known.
    #[error("{why}; metadata `authorization: Bearer TOKEN` with a known token is expected")]
    Unauthenticated {
        /// What is missing or wrong; never the credential.
        why: &'static str,
    },
    /// A credential that does not allow this.
    #[error("{method} is for administrators; {accepted}")]
    PermissionDenied {
        /// The method that was called.
        method: String,
        /// Who may call it.
        accepted: &'static str,
    },
    /// Checkpoints that could not take the place of what is served.
    #[error("not reloaded: {}", failed.join("; "))]
    NotReloaded {
        /// Each failure as `model: reason`.
        failed: Vec<String>,
    },
    /// A request's message did not arrive in full.
    #[error("the message was not received within {} ms", limit.as_millis())]
    SlowMessage {
        /// How long a message may take.
        limit: Duration,
    },
    /// The request's message is larger than accepted.
    #[error("message is too large; at most {limit} bytes are accepted")]
    MessageTooLarge {
        /// Bytes.
        limit: usize,
    },
    /// What arrived is no message of the method's type.
    #[error("the message cannot be read: {reason}")]
    UnreadableMessage {
        /// The library's words.
        reason: String,
    },
    /// The message is compressed in a way that is not read here.
    #[error("{reason}; accepted are {accepted}")]
    UnsupportedEncoding {
        /// The library's words, which name the encoding.
        reason: String,
        /// As the header `grpc-accept-encoding` lists them.
        accepted: String,
    },
    /// Nothing answers this path.
    #[error("this server has no such method; reflection lists those that it has")]
    UnknownMethod,
    /// The forward pass failed for this clip.
    #[error("the clip could not be computed: {reason}")]
    Compute {
        /// The scorer's words.
        reason: String,
    },
    /// A defect of the service.
    #[error("internal error in {step}")]
    Internal {
        /// The step that gave up.
        step: &'static str,
    },
}

/// Why a model cannot answer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Replicas are being built and warmed up.
    #[error("it is loading")]
    Loading,
    /// The server is stopping.
    #[error("the server is draining")]
    Draining,
    /// Every worker was lost.
    #[error("it has no healthy worker")]
    NoWorker,
    /// Another model took its place while a clip waited for room.
    #[error("another has taken its place")]
    Replaced,
    /// A stream has reached the age at which streams end.
    #[error("the stream is as old as streams may become; its resume token begins the next")]
    StreamAge,
}

pub(crate) fn listed(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}
