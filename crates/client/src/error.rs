use std::error::Error as _;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Why a call gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The address is not one.
    #[error("address is {found:?}; host and port such as http://127.0.0.1:50051 are expected")]
    Address {
        /// What was given.
        found: String,
    },
    /// No connection came about.
    #[error("no server answers at {address}: {reason}")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// Neither an answer nor room for another attempt before the deadline.
    #[error("server at {address} did not answer within {} ms", deadline.as_millis())]
    Deadline {
        /// Who was asked.
        address: String,
        /// What the call was given, all attempts together.
        deadline: Duration,
    },
    /// The server answered with an error, after as many attempts as were worth it.
    #[error("server at {address} answered {}: {message}", code_name(*code))]
    Refused {
        /// Who was asked.
        address: String,
        /// The gRPC code of the last attempt.
        code: Code,
        /// The server's words, in one line, with the fields it objects to.
        message: String,
    },
    /// The answer lacks something that the protocol promises.
    #[error("server at {address} answered without {field}")]
    Incomplete {
        /// Who was asked.
        address: String,
        /// What is missing.
        field: &'static str,
    },
}

impl ClientError {
    /// The error that a status stands for.
    pub(crate) fn from_status(address: &str, status: &Status) -> Self {
        let address = address.to_owned();
        if connection_lost(status) {
            return Self::Unreachable { address, reason: root_cause(status) };
        }
        Self::Refused { address, code: status.code(), message: describe(status) }
    }

    /// What to count it under: the name of its gRPC code, `UNREACHABLE` where no server answered,
    /// or `INCOMPLETE`.
    pub fn code_name(&self) -> String {
        match self {
            Self::Refused { code, .. } => code_name(*code),
            Self::Deadline { .. } => code_name(Code::DeadlineExceeded),
            Self::Unreachable { .. } | Self::Address { .. } => "UNREACHABLE".to_owned(),
            Self::Incomplete { .. } => "INCOMPLETE".to_owned(),
        }
    }

    /// The gRPC code, where the server answered with one.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Deadline { .. } => Some(Code::DeadlineExceeded),
            Self::Unreachable { .. } => Some(Code::Unavailable),
            Self::Address { .. } | Self::Incomplete { .. } => None,
        }
    }
}

/// Whether the connection, not the server, ended the call: only then has a status a cause on this
/// side of the wire.
pub(crate) fn connection_lost(status: &Status) -> bool {
    let code = status.code();
    let broken = matches!(code, Code::Unavailable | Code::Cancelled | Code::Unknown);
    (broken && status.source().is_some()) || told_to_go_away(status)
}

/// Whether the server closed the connection in peace before it took the call: tonic calls a GOAWAY
/// without error INTERNAL, and h2 gives it only to calls that the server will not look at.
fn told_to_go_away(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.is_go_away()
                && error.is_remote()
                && error.reason() == Some(h2::Reason::NO_ERROR);
        }
        cause = error.source();
    }
    false
}

/// The innermost error of a chain: "Connection refused" rather than "transport error".
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    one_line(&cause.to_string())
}

/// The message and, where it does not name them itself, the fields that the server objects to.
fn describe(status: &Status) -> String {
    let mut message = one_line(status.message());
    let violations =
        status.get_details_bad_request().map(|d| d.field_violations).unwrap_or_default();
    for violation in violations {
        if !message.contains(&violation.description) || !message.contains(&violation.field) {
            message.push_str(&format!("; {} {}", violation.field, violation.description));
        }
    }
    message
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The name that the gRPC documents use, such as `INVALID_ARGUMENT`.
fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_refusal_is_one_line_with_its_fields() {
        let details = ErrorDetails::with_bad_request_violation(
            "raw_frames.count",
            "is 3; 5 is expected (or 4 without a target)",
        );
        let status = Status::with_error_details(Code::InvalidArgument, "bad\nclip", details);
        let error = ClientError::from_status("http://a:1", &status);
        assert_eq!(
            error.to_string(),
            "server at http://a:1 answered INVALID_ARGUMENT: bad clip; \
             raw_frames.count is 3; 5 is expected (or 4 without a target)"
        );
        assert_eq!(error.code(), Some(Code::InvalidArgument));
    }

    #[test]
    fn a_field_that_the_message_names_is_not_repeated() {
        let details = ErrorDetails::with_bad_request_violation("scene", "is unknown");
        let status = Status::with_error_details(Code::InvalidArgument, "scene is unknown", details);
        let error = ClientError::from_status("http://a:1", &status);
        assert!(error.to_string().ends_with("INVALID_ARGUMENT: scene is unknown"), "{error}");
    }
}
