//! What methods answer from.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::stream::open_streams::OpenStreams;
use crate::config::ServiceConfig;
use crate::registry::models::Registry;
use crate::transport::credentials::Credentials;
use crate::transport::trace_context::{TraceContext, Traces};

/// What the methods of scoring answer from.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) registry: Arc<Registry>,
    pub(crate) config: Arc<ServiceConfig>,
    /// Cancelled when new clips are refused because the server is stopping.
    pub(crate) draining: CancellationToken,
    /// Nobody collects spans where absent.
    pub(crate) traces: Option<Arc<dyn Traces>>,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) streams: Arc<OpenStreams>,
}

impl Context {
    /// Makes a span a part of its caller's trace, where there is one and somebody collects spans.
    pub(super) fn join(&self, span: &Span, caller: Option<&TraceContext>) {
        if let Some((traces, caller)) = self.traces.as_ref().zip(caller) {
            traces.join(span, caller);
        }
    }
}
