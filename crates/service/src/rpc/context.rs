//! What methods answer from.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::stream::open_streams::OpenStreams;
use crate::config::ServiceConfig;
use crate::registry::models::Registry;
use crate::transport::credentials::Credentials;
use crate::transport::trace_context::Traces;

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
