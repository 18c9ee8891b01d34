//! Credentials are looked at before anything of a request is read.

use std::net::SocketAddr;
use std::sync::Arc;

use tonic::Status;
use tonic::codegen::http::{Extensions, Request};

use crate::queue::fair_queue::CallerId;
use crate::transport::credentials::{Caller, Credentials};
use crate::transport::gate::Check;

/// The connection that a request came by, as a request extension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) connection: CallerId,
    pub(crate) address: SocketAddr,
}

/// Who takes turns in the queue for a request with these extensions.
pub(crate) fn caller_of(extensions: &Extensions) -> CallerId {
    extensions.get::<Peer>().map_or(0, |peer| peer.connection)
}

impl Check for Arc<Credentials> {
    fn refusal<B>(&self, request: &Request<B>) -> Option<Status> {
        let peer = request.extensions().get::<Peer>();
        let caller = Caller {
            method: request.uri().path(),
            address: peer.map(|peer| peer.address.ip()),
            headers: request.headers(),
        };
        self.check(&caller).err().map(Status::from)
    }
}
