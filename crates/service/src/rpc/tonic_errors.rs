//! What tonic refuses by itself, in the words of the one table of errors.
//!
//! tonic reads a message before a method sees it, and answers what it cannot read without details
//! and by codes that mislead: OUT_OF_RANGE for a message above the limit, which callers read as a
//! wrong position in a file, and INTERNAL for bytes that are no message, which they read as a
//! defect of the server. Deliberately left alone: health and reflection, whose own errors follow
//! their own contracts.

use std::pin::Pin;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::error::ServiceError;

/// What gRPC asks a server to name beside a refusal of how a message is compressed.
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";

#[derive(Clone, Copy, Debug)]
pub(crate) struct TonicErrorsLayer {
    /// The limit that the services were given.
    pub(crate) max_message_bytes: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct TonicErrors<S> {
    inner: S,
    max_message_bytes: usize,
}

impl<S> Layer<S> for TonicErrorsLayer {
    type Service = TonicErrors<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TonicErrors { inner, max_message_bytes: self.max_message_bytes }
    }
}

impl<S, B> Service<Request<B>> for TonicErrors<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let limit = self.max_message_bytes;
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            let refused = Status::from_header_map(response.headers());
            let Some(error) = refused.and_then(|status| in_our_words(&status, limit)) else {
                return Ok(response);
            };
            let mut answer = Status::from(error).into_http();
            if let Some(accepted) = response.headers().get(ACCEPT_ENCODING) {
                answer.headers_mut().insert(ACCEPT_ENCODING, accepted.clone());
            }
            Ok(answer)
        })
    }
}

/// The row of the table for an error of tonic's, which has no details; every error of ours has.
fn in_our_words(status: &Status, limit: usize) -> Option<ServiceError> {
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
        assert_eq!(in_our_words(&ours, 1), None);
        let of_health = Status::not_found("service not registered");
        assert_eq!(in_our_words(&of_health, 1), None);
    }
}
