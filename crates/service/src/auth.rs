//! Credentials are looked at before anything of a request is read.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

use crate::credentials::{Caller, Credentials};
use crate::fair_queue::CallerId;

/// The connection that a request came by, as a request extension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) connection: CallerId,
    pub(crate) address: SocketAddr,
}

#[derive(Clone)]
pub(crate) struct AuthLayer {
    pub(crate) credentials: Arc<Credentials>,
}

#[derive(Clone)]
pub(crate) struct Auth<S> {
    inner: S,
    credentials: Arc<Credentials>,
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Auth { inner, credentials: Arc::clone(&self.credentials) }
    }
}

impl<S, B> Service<Request<B>> for Auth<S>
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

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let peer = request.extensions().get::<Peer>();
        let caller = Caller {
            method: request.uri().path(),
            address: peer.map(|peer| peer.address.ip()),
            headers: request.headers(),
        };
        if let Err(refused) = self.credentials.check(&caller) {
            let response = Status::from(refused).into_http();
            return Box::pin(async move { Ok(response) });
        }
        Box::pin(self.inner.call(request))
    }
}
