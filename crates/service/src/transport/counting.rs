//! Every request counted once, by the code that its caller gets.
//!
//! The code of an answer lies in its headers where it is a refusal and in its trailers otherwise,
//! so the body is watched to its end. A request that is dropped before is one that its caller
//! cancelled, or whose deadline has passed.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::SCORE_STREAM;
use super::deadline::Deadline;
use crate::metrics::{Metrics, RequestEnd};

const GRPC_STATUS: &str = "grpc-status";
/// A caller may ask for any path; those that nothing answers share one label.
const UNKNOWN_METHOD: &str = "unknown";

/// Where a method puts the model that it found, as a request extension.
#[derive(Clone, Debug, Default)]
pub(crate) struct AskedModel(Arc<OnceLock<String>>);

impl AskedModel {
    pub(crate) fn set(&self, model: &str) {
        // A retried look-up finds a model of the same name.
        let _ = self.0.set(model.to_owned());
    }
}

#[derive(Clone, Debug)]
pub(crate) struct CountingLayer {
    pub(crate) metrics: Metrics,
}

#[derive(Clone, Debug)]
pub(crate) struct Counting<S> {
    inner: S,
    metrics: Metrics,
}

impl<S> Layer<S> for CountingLayer {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Counting { inner, metrics: self.metrics.clone() }
    }
}

/// A request until it is counted.
#[derive(Debug)]
struct Record {
    metrics: Metrics,
    method: String,
    model: AskedModel,
    started: Instant,
    deadline: Option<Instant>,
    /// Taken when it is counted.
    open: bool,
}

impl Record {
    fn end(&mut self, code: Code) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let known = code != Code::Unimplemented;
        self.metrics.request(&RequestEnd {
            method: if known { &self.method } else { UNKNOWN_METHOD },
            model: self.model.0.get().map_or("", String::as_str),
            code,
            took: (self.method != SCORE_STREAM[1..]).then(|| self.started.elapsed()),
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let late = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        self.end(if late { Code::DeadlineExceeded } else { Code::Cancelled });
    }
}

impl<S, B> Service<Request<B>> for Counting<S>
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

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let model = AskedModel::default();
        let mut record = Record {
            metrics: self.metrics.clone(),
            method: request.uri().path().trim_start_matches('/').to_owned(),
            model: model.clone(),
            started: Instant::now(),
            deadline: request.extensions().get::<Deadline>().map(|deadline| deadline.0),
            open: true,
        };
        request.extensions_mut().insert(model);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            if let Some(code) = code_in(response.headers()) {
                record.end(code);
                return Ok(response);
            }
            Ok(response.map(|body| Body::new(Watched { body, record })))
        })
    }
}

fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers.get(GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

/// A body that counts its request at its end.
struct Watched {
    body: Body,
    record: Record,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(code) = frame.trailers_ref().and_then(code_in) {
                    self.record.end(code);
                }
            }
            Some(Err(status)) => self.record.end(status.code()),
            // gRPC ends with trailers; without them the answer is one that nobody can read.
            None => self.record.end(Code::Unknown),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
