//! Clips that would be too late are refused before they are received.
//!
//! Under overload a clip costs its caller's upload, the server's copies and a decoding before the
//! queue finds that nobody will hear the answer, and those who can be answered pay for it. The
//! deadline comes with the headers, so a caller can be told at once.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

use crate::auth::Peer;
use crate::deadline::Deadline;
use crate::metrics::AskedModel;
use crate::registry::Registry;

const SCORE_CLIP: &str = "/protoguard.v1.ScoringService/ScoreClip";

#[derive(Clone)]
pub(crate) struct DoorLayer {
    pub(crate) registry: Arc<Registry>,
}

#[derive(Clone)]
pub(crate) struct Door<S> {
    inner: S,
    registry: Arc<Registry>,
}

impl<S> Layer<S> for DoorLayer {
    type Service = Door<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Door { inner, registry: Arc::clone(&self.registry) }
    }
}

impl<S> Door<S> {
    /// The refusal of a clip that no model could answer in time. Which one it asks for stands in the
    /// message, so it is counted as the default's.
    fn refusal<B>(&self, request: &Request<B>) -> Option<Status> {
        if request.uri().path() != SCORE_CLIP {
            return None;
        }
        let Deadline(deadline) = *request.extensions().get()?;
        let caller = request.extensions().get::<Peer>().map_or(0, |peer| peer.connection);
        if !self.registry.all().iter().all(|model| model.is_hopeless(caller, deadline)) {
            return None;
        }
        let model = self.registry.find(None).ok()?;
        if let Some(asked) = request.extensions().get::<AskedModel>() {
            asked.is(&model.slot().name);
        }
        Some(model.refuse_hopeless().into())
    }
}

impl<S, B> Service<Request<B>> for Door<S>
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
        match self.refusal(&request) {
            Some(refused) => Box::pin(async move { Ok(refused.into_http()) }),
            None => Box::pin(self.inner.call(request)),
        }
    }
}
