//! Who sent a request, as far as its connection says so.

use std::net::SocketAddr;

/// The connection that a request came by, as a request extension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Its number among those of the service.
    pub(crate) connection: u64,
    pub(crate) address: SocketAddr,
}
