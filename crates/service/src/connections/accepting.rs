//! Accepting, and closing the port without losing who is already there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::{Answers, Connection, Serving, until};
use crate::auth::Peer;

/// When the system has no file descriptors left, accepting again at once only spins.
const BACKOFF: Duration = Duration::from_millis(50);
/// When it is time to stop, the port closes once nobody has connected for so long: callers whose
/// connections were told to go away connect again at once, and are told here to ask elsewhere.
const QUIET: Duration = Duration::from_millis(50);
/// The port closes after so long even if callers keep coming.
const NEVER_QUIET: Duration = Duration::from_secs(1);

/// Takes connections from a listener and starts to serve them.
pub(super) struct Acceptor<S> {
    pub(super) serving: Serving<S>,
    pub(super) places: Arc<Semaphore>,
    pub(super) numbers: AtomicU64,
    pub(super) stop: CancellationToken,
    pub(super) abort: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl<S: Answers> Acceptor<S> {
    /// Accepts until it is time to stop and nobody is left who has connected. The port is closed
    /// when this returns.
    pub(super) async fn run(self, listener: TcpListener) {
        while let Some((stream, peer)) = until(self.stop.cancelled(), next(&listener)).await {
            self.open(stream, peer);
        }
        let mut never_quiet = std::pin::pin!(sleep(NEVER_QUIET));
        while let Some(Ok((stream, peer))) =
            until(never_quiet.as_mut(), timeout(QUIET, next(&listener))).await
        {
            self.open(stream, peer);
        }
        // The kernel resets connections that it has accepted and nobody has taken from it.
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, peer)) = listener.accept() {
            let nonblocking = stream.set_nonblocking(true);
            match nonblocking.and_then(|()| TcpStream::from_std(stream)) {
                Ok(stream) => self.open(stream, peer),
                Err(error) => debug!(peer = %peer, error = %error, "connection not taken"),
            }
        }
    }

    /// Serves a connection, where there is a place for it.
    fn open(&self, stream: TcpStream, address: SocketAddr) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            // Closing it sends the caller to another replica; waiting would not.
            let limit = self.serving.config.max_connections;
            warn!(peer = %address, limit, "connection refused: too many");
            return;
        };
        let connection = self.numbers.fetch_add(1, Ordering::Relaxed);
        debug!(peer = %address, connection, "connection accepted");
        let open = Connection {
            serving: self.serving.clone(),
            peer: Peer { connection, address },
            stop: self.stop.clone(),
            tasks: self.tasks.clone(),
            _place: place,
        };
        let abort = self.abort.clone();
        self.tasks.spawn(async move { abort.run_until_cancelled(open.run(stream)).await });
    }
}

/// The next connection.
async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                warn!(error = %error, "connection not accepted");
                sleep(BACKOFF).await;
            }
        }
    }
}
