//! What a request says beside its message.

use tokio::time::Instant;
use tonic::codegen::http::Extensions;

use crate::queue::fair_queue::CallerId;
use crate::transport::counting::AskedModel;
use crate::transport::deadline::Deadline;
use crate::transport::peer::Peer;

/// What a request says beside its message.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) deadline: Option<Instant>,
    pub(super) caller: CallerId,
    pub(super) asked_model: AskedModel,
}

impl Call {
    pub(super) fn of(extensions: &Extensions) -> Self {
        Self {
            deadline: extensions.get::<Deadline>().map(|deadline| deadline.0),
            caller: caller_of(extensions),
            asked_model: extensions.get::<AskedModel>().cloned().unwrap_or_default(),
        }
    }
}

/// Who takes turns in the queue for a request with these extensions.
pub(super) fn caller_of(extensions: &Extensions) -> CallerId {
    extensions.get::<Peer>().map_or(0, |peer| peer.connection)
}
