//! The caller's deadline.
//!
//! tonic's own server turns `grpc-timeout` into CANCELLED and does not tell the handler of it.
//! Here the deadline travels with the request, so that the queue drops what is too late, and
//! whatever is still running at that time is dropped and answered DEADLINE_EXCEEDED.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tower::{Layer, Service};

use crate::error::ServiceError;

const GRPC_TIMEOUT: &str = "grpc-timeout";

/// When the caller stops listening, as a request extension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(pub(crate) Instant);

#[derive(Clone, Copy, Debug)]
pub(crate) struct DeadlineLayer {
    /// The table of errors, which is `rpc`'s.
    pub(crate) status: fn(ServiceError) -> Status,
}

#[derive(Clone, Debug)]
pub(crate) struct DeadlineService<S> {
    inner: S,
    status: fn(ServiceError) -> Status,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadlineService { inner, status: self.status }
    }
}

impl<S, B> Service<Request<B>> for DeadlineService<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(patience) = grpc_timeout(request.headers()) else {
            return Box::pin(self.inner.call(request));
        };
        let deadline = Instant::now() + patience;
        request.extensions_mut().insert(Deadline(deadline));
        let answer = self.inner.call(request);
        let status = self.status;
        Box::pin(async move {
            timeout_at(deadline, answer).await.unwrap_or_else(|_| {
                let late = ServiceError::DeadlineExceeded { at: "before the answer" };
                Ok(status(late).into_http())
            })
        })
    }
}

/// The timeout that the caller sent: at most eight digits and a unit, as gRPC over HTTP/2 has it.
/// One that cannot be read is as none.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_count = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let count: u64 = digits.parse().ok().filter(|_| is_count)?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, text.parse().unwrap());
        grpc_timeout(&headers)
    }

    #[test]
    fn every_unit_is_read() {
        let read = ["2H", "2M", "2S", "2m", "2u", "2n"].map(|text| parsed(text).unwrap());
        let expected = [
            Duration::from_secs(7200),
            Duration::from_secs(120),
            Duration::from_secs(2),
            Duration::from_millis(2),
            Duration::from_micros(2),
            Duration::from_nanos(2),
        ];
        assert_eq!(read, expected);
        assert_eq!(parsed("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
    }

    #[test]
    fn what_is_no_timeout_is_none() {
        for text in ["", "S", "5", "5x", "123456789S", "-5S", "+5S", "5 S"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_late_is_dropped_and_answered() {
        let never = tower::service_fn(|request: Request<()>| async move {
            assert!(request.extensions().get::<Deadline>().is_some());
            std::future::pending::<Result<Response<Body>, std::convert::Infallible>>().await
        });
        let request = Request::builder().header(GRPC_TIMEOUT, "50m").body(()).unwrap();
        let started = Instant::now();
        let layer = DeadlineLayer { status: |late| Status::deadline_exceeded(late.to_string()) };
        let response = layer.layer(never).call(request).await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "4");
        // Paused time stops at the timer, to its granularity of a millisecond.
        assert!((50..=52).contains(&started.elapsed().as_millis()));
    }
}
