use std::collections::HashMap;
use std::time::Duration;

use protoguard_proto::Violations;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The `domain` of every `ErrorInfo`.
pub const DOMAIN: &str = "protoguard";

/// When an overloaded or unavailable server is worth asking again.
const RETRY_SOON: Duration = Duration::from_millis(100);
const RETRY_LATER: Duration = Duration::from_secs(1);

/// Why a request is not answered with scores. One row a variant of the one table of errors, so
/// that no handler chooses a code.
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
}

pub(crate) fn listed(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}

/// A row of the table of errors.
struct Row {
    code: Code,
    /// `ErrorInfo.reason`.
    reason: &'static str,
    retry: Option<Duration>,
}

impl ServiceError {
    pub(crate) fn code(&self) -> Code {
        self.row().code
    }

    fn row(&self) -> Row {
        let row = |code, reason, retry| Row { code, reason, retry };
        match self {
            Self::Invalid(_) => row(Code::InvalidArgument, "INVALID_REQUEST", None),
            Self::UnknownModel { .. } => row(Code::NotFound, "MODEL_NOT_FOUND", None),
            Self::UnknownScene { .. } => row(Code::NotFound, "SCENE_NOT_FOUND", None),
            Self::Overloaded { .. } => row(Code::ResourceExhausted, "OVERLOADED", Some(RETRY_SOON)),
            Self::ReceivingTooMuch { .. } => {
                row(Code::ResourceExhausted, "RECEIVING_TOO_MUCH", Some(RETRY_SOON))
            }
            Self::DeadlineExceeded { .. } => row(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", None),
            Self::Unavailable { why, .. } => {
                let reason = match why {
                    Unavailable::Loading => "LOADING",
                    Unavailable::Draining => "DRAINING",
                    Unavailable::NoWorker => "NO_HEALTHY_WORKER",
                };
                row(Code::Unavailable, reason, Some(RETRY_LATER))
            }
            Self::Unauthenticated { .. } => row(Code::Unauthenticated, "UNAUTHENTICATED", None),
            Self::PermissionDenied { .. } => row(Code::PermissionDenied, "ADMIN_ONLY", None),
            Self::NotReloaded { .. } => row(Code::FailedPrecondition, "NOT_RELOADED", None),
            Self::SlowMessage { .. } => row(Code::DeadlineExceeded, "SLOW_MESSAGE", None),
            Self::MessageTooLarge { .. } => row(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", None),
            Self::UnreadableMessage { .. } => {
                row(Code::InvalidArgument, "UNREADABLE_MESSAGE", None)
            }
            // gRPC's own words for the two, which other libraries know.
            Self::UnsupportedEncoding { .. } => {
                row(Code::Unimplemented, "UNSUPPORTED_ENCODING", None)
            }
            Self::UnknownMethod => row(Code::Unimplemented, "METHOD_NOT_FOUND", None),
            Self::Compute { .. } => row(Code::Internal, "CLIP_NOT_COMPUTED", None),
            Self::Internal { .. } => row(Code::Internal, "INTERNAL", None),
        }
    }

    /// The fields as `ErrorInfo.metadata`.
    fn metadata(&self) -> HashMap<String, String> {
        let pairs: Vec<(&str, String)> = match self {
            Self::UnknownModel { asked, known } => {
                vec![("model", asked.clone()), ("loaded", known.join(","))]
            }
            Self::UnknownScene { asked, model, known } => vec![
                ("scene", asked.clone()),
                ("model", model.clone()),
                ("scenes", known.join(",")),
            ],
            Self::Overloaded { model, unit, limit, .. } => {
                vec![("model", model.clone()), ("limit", format!("{limit} {unit}"))]
            }
            Self::Unavailable { model, .. } => vec![("model", model.clone())],
            Self::ReceivingTooMuch { limit, .. } | Self::MessageTooLarge { limit } => {
                vec![("limit", format!("{limit} bytes"))]
            }
            Self::DeadlineExceeded { at } => vec![("noticed", (*at).to_owned())],
            Self::UnsupportedEncoding { accepted, .. } => vec![("accepted", accepted.clone())],
            Self::PermissionDenied { method, .. } => vec![("method", method.clone())],
            Self::SlowMessage { limit } => vec![("limit", format!("{} ms", limit.as_millis()))],
            Self::Unauthenticated { .. } | Self::NotReloaded { .. } => Vec::new(),
            Self::Invalid(_) | Self::UnreadableMessage { .. } | Self::UnknownMethod => Vec::new(),
            Self::Compute { .. } | Self::Internal { .. } => Vec::new(),
        };
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

impl From<ServiceError> for Status {
    fn from(error: ServiceError) -> Self {
        let row = error.row();
        let mut details = ErrorDetails::with_error_info(row.reason, DOMAIN, error.metadata());
        if let ServiceError::Invalid(Violations(violations)) = &error {
            for violation in violations {
                details.add_bad_request_violation(&violation.field, &violation.description);
            }
        }
        if let Some(delay) = row.retry {
            details.set_retry_info(Some(delay));
        }
        Self::with_error_details(row.code, error.to_string(), details)
    }
}
