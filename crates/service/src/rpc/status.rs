//! Errors on the wire: one table of codes, and what tonic refuses by itself in the same words.
//!
//! tonic reads a message before a method sees it, and answers what it cannot read without details
//! and by codes that mislead: OUT_OF_RANGE for a message above the limit, which callers read as a
//! wrong position in a file, and INTERNAL for bytes that are no message, which they read as a
//! defect of the server. Deliberately left alone: health and reflection, whose own errors follow
//! their own contracts.

use std::collections::HashMap;
use std::time::Duration;

use protoguard_proto::{Violations, v1};
use tonic::body::Body;
use tonic::codegen::http::Response;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower::BoxError;

use crate::error::{ServiceError, Unavailable};

/// The `domain` of every `ErrorInfo`.
pub const DOMAIN: &str = "protoguard";

/// When an overloaded or unavailable server is worth asking again.
const RETRY_SOON: Duration = Duration::from_millis(100);
const RETRY_LATER: Duration = Duration::from_secs(1);

/// What gRPC asks a server to name beside a refusal of how a message is compressed.
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";

/// A row of the table of errors.
struct Row {
    code: Code,
    /// `ErrorInfo.reason`.
    reason: &'static str,
    retry: Option<Duration>,
}

/// The code that an error has in the table.
pub(crate) fn code_of(error: &ServiceError) -> Code {
    error.row().code
}

impl ServiceError {
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
            Self::TooManyStreams { .. } => {
                row(Code::ResourceExhausted, "TOO_MANY_STREAMS", Some(RETRY_LATER))
            }
            Self::AnswersUnread { .. } => row(Code::ResourceExhausted, "ANSWERS_UNREAD", None),
            Self::DeadlineExceeded { .. } => row(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", None),
            Self::Unavailable { why, .. } => {
                let reason = match why {
                    Unavailable::Loading => "LOADING",
                    Unavailable::Draining => "DRAINING",
                    Unavailable::NoWorker => "NO_HEALTHY_WORKER",
                    Unavailable::Replaced => "REPLACED",
                    Unavailable::StreamAge => "STREAM_AGE",
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
            Self::TooManyStreams { limit } => vec![("limit", format!("{limit} streams"))],
            Self::AnswersUnread { waiting } => vec![("limit", format!("{waiting} answers"))],
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

/// The error of one clip or frame beside others that have none.
pub(crate) fn scoring_error(error: &ServiceError) -> v1::ScoringError {
    let row = error.row();
    let retry = row.retry.map_or(0, |delay| delay.as_millis());
    v1::ScoringError {
        code: row.code.into(),
        reason: row.reason.to_owned(),
        message: error.to_string(),
        retry_after_ms: u32::try_from(retry).unwrap_or(u32::MAX),
    }
}

/// What tonic found wrong with a message of a stream, in the words of the table.
pub(crate) fn status_in_our_words(status: Status, limit: usize) -> Status {
    row_for(&status, limit).map_or(status, Status::from)
}

/// The answer to a request that a filter refused with a status.
pub(crate) fn refusals_answered(
    answer: Result<Response<Body>, BoxError>,
) -> Result<Response<Body>, BoxError> {
    Ok(answer.unwrap_or_else(|refused| Status::from_error(refused).into_http()))
}

/// A response of tonic's in the words of the table, where it is an error of tonic's own. `limit` is
/// the bound on messages that the services were given.
pub(crate) fn in_our_words(response: Response<Body>, limit: usize) -> Response<Body> {
    let refused = Status::from_header_map(response.headers());
    let Some(error) = refused.and_then(|status| row_for(&status, limit)) else {
        return response;
    };
    let mut answer = Status::from(error).into_http();
    if let Some(accepted) = response.headers().get(ACCEPT_ENCODING) {
        answer.headers_mut().insert(ACCEPT_ENCODING, accepted.clone());
    }
    answer
}

/// The row of the table for an error of tonic's, which has no details; every error of ours has.
fn row_for(status: &Status, limit: usize) -> Option<ServiceError> {
    if !status.details().is_empty() {
        return None;
    }
    let reason = status.message().to_owned();
    match status.code() {
        // The second for a message that grows above the limit as it is decompressed.
        Code::OutOfRange | Code::ResourceExhausted => Some(ServiceError::MessageTooLarge { limit }),
        Code::Internal => Some(ServiceError::UnreadableMessage { reason }),
        Code::Unimplemented => {
            let accepted = status.metadata().get(ACCEPT_ENCODING);
            let accepted = accepted.and_then(|list| list.to_str().ok()).map(str::to_owned);
            Some(match accepted {
                Some(accepted) => ServiceError::UnsupportedEncoding { reason, accepted },
                None => ServiceError::UnknownMethod,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_table_is_left_as_it_is() {
        let ours = Status::from(ServiceError::Compute { reason: "odd".to_owned() });
        assert_eq!(ours.code(), Code::Internal);
        assert_eq!(row_for(&ours, 1), None);
        let of_health = Status::not_found("service not registered");
        assert_eq!(row_for(&of_health, 1), None);
    }
}
