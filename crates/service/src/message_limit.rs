//! tonic refuses a message above the limit with OUT_OF_RANGE, which callers read as a wrong
//! position in a file. Nothing else here answers so; it becomes RESOURCE_EXHAUSTED with the limit.

use std::pin::Pin;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::ServiceError;

#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageLimitLayer {
    /// The limit that the services were given.
    pub(crate) max_message_bytes: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct MessageLimit<S> {
    inner: S,
    max_message_bytes: usize,
}

impl<S> Layer<S> for MessageLimitLayer {
    type Service = MessageLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        MessageLimit { inner, max_message_bytes: self.max_message_bytes }
    }
}

impl<S, B> Service<Request<B>> for MessageLimit<S>
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
            let code = response.extensions().get::<Status>().map(Status::code);
            if code == Some(Code::OutOfRange) {
                return Ok(Status::from(ServiceError::MessageTooLarge { limit }).into_http());
            }
            Ok(response)
        })
    }
}
