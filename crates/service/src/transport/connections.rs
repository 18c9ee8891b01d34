//! Accepting, serving and ending connections.
//!
//! Written on hyper rather than on tonic's `Server` for three reasons: tonic's answers an expired
//! `grpc-timeout` itself, with CANCELLED, before any layer of ours; its graceful shutdown waits for
//! every connection without limit; and its `max_connection_age`, with a grace, drops calls that are
//! in flight.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accepting::Acceptor;
use super::connection::{Answers, Serving};

/// The open connections of one listener.
pub(crate) struct Connections {
    /// No new connections; open ones get a GOAWAY and finish.
    stop: CancellationToken,
    /// Open connections are dropped.
    abort: CancellationToken,
    tasks: TaskTracker,
}

impl Connections {
    /// Begins to accept.
    pub(crate) fn serve<S: Answers>(listener: TcpListener, serving: Serving<S>) -> Self {
        let connections = Self {
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let acceptor = Acceptor {
            places: Arc::new(Semaphore::new(serving.config.max_connections)),
            serving,
            numbers: AtomicU64::new(0),
            stop: connections.stop.clone(),
            abort: connections.abort.clone(),
            tasks: connections.tasks.clone(),
        };
        connections.tasks.spawn(acceptor.run(listener));
        connections
    }

    /// Stops accepting and waits until every connection has finished, for as long as `patience`.
    /// Says whether all finished.
    pub(crate) async fn drain(&self, patience: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        timeout(patience, self.tasks.wait()).await.is_ok()
    }

    /// Drops what is left.
    pub(crate) async fn abort(&self) {
        self.abort.cancel();
        self.tasks.wait().await;
    }
}
