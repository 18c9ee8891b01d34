//! What may turn a request away on its headers, before anything of its message is read.

use std::pin::Pin;
use std::task::{Context, Poll};

use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

/// A reason to turn requests away.
pub(crate) trait Check: Clone {
    /// What a request is refused with; nothing where it may pass.
    fn refusal<B>(&self, request: &Request<B>) -> Option<Status>;
}

#[derive(Clone)]
pub(crate) struct GateLayer<C>(pub(crate) C);

#[derive(Clone)]
pub(crate) struct Gate<C, S> {
    check: C,
    inner: S,
}

impl<C: Check, S> Layer<S> for GateLayer<C> {
    type Service = Gate<C, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Gate { check: self.0.clone(), inner }
    }
}

impl<C, S, B> Service<Request<B>> for Gate<C, S>
where
    C: Check,
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

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if let Some(refused) = self.check.refusal(&request) {
            return Box::pin(async move { Ok(refused.into_http()) });
        }
        Box::pin(self.inner.call(request))
    }
}
