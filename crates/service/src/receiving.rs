//! A bound on how long a request's message may take to arrive.
//!
//! A caller that sends half a message and then nothing, alive and answering pings, would hold its
//! stream and what it has sent for ever. Calls whose requests are streams by nature are exempt.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

use crate::ServiceError;

/// Prefixes of the paths whose requests are streams.
const STREAMS: [&str; 1] = ["/grpc.reflection."];

#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceivingLayer {
    pub(crate) limit: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct Receiving<S> {
    inner: S,
    limit: Duration,
}

impl<S> Layer<S> for ReceivingLayer {
    type Service = Receiving<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Receiving { inner, limit: self.limit }
    }
}

impl<S> Service<Request<Body>> for Receiving<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if STREAMS.iter().any(|prefix| request.uri().path().starts_with(prefix)) {
            return self.inner.call(request);
        }
        let limit = self.limit;
        self.inner.call(request.map(|body| {
            let timer = Box::pin(sleep(limit));
            Body::new(Timed { body, timer, limit })
        }))
    }
}

/// A body that fails when it has not ended in time.
struct Timed {
    body: Body,
    timer: Pin<Box<Sleep>>,
    limit: Duration,
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        if self.timer.as_mut().poll(context).is_ready() {
            let late = ServiceError::SlowMessage { limit: self.limit };
            return Poll::Ready(Some(Err(late.into())));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
