//! Accepting, and closing the port without losing who is already there.

use std::io;
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

use super::connection::{Answers, Connection, Serving, until};
use super::lingering::Lingering;
use super::peer::Peer;

/// When the system has no file descriptors left, accepting again at once only spins.
const BACKOFF: Duration = Duration::from_millis(50);
/// When it is time to stop, the port closes once nobody has connected for so long: callers whose
/// connections were told to go away connect again at once, and are told here to ask elsewhere.
const QUIET: Duration = Duration::from_millis(50);
/// The port closes after so long even if callers keep coming.
const NEVER_QUIET: Duration = Duration::from_secs(1);
/// As many connections as the kernel may hold for us, as tokio asks it to.
const BACKLOG: usize = 1024;

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
        while let Some(accepted) = until(self.stop.cancelled(), listener.accept()).await {
            pause(self.take(accepted)).await;
        }
        let mut never_quiet = std::pin::pin!(sleep(NEVER_QUIET));
        while let Some(Ok(accepted)) =
            until(never_quiet.as_mut(), timeout(QUIET, listener.accept())).await
        {
            pause(self.take(accepted)).await;
        }
        // The kernel resets connections that it has accepted and nobody has taken from it.
        let Ok(listener) = listener.into_std() else { return };
        for _ in 0..BACKLOG {
            match listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                accepted => pause(self.take(accepted.and_then(asynchronous))).await,
            }
        }
    }

    /// Serves a connection that was accepted. Says how long to wait before the next.
    fn take(&self, accepted: io::Result<(TcpStream, SocketAddr)>) -> Option<Duration> {
        match accepted {
            Ok((stream, peer)) => {
                self.open(stream, peer);
                None
            }
            Err(error) => {
                warn!(error = %error, "connection not accepted");
                Some(BACKOFF)
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
        };
        let abort = self.abort.clone();
        let stream = Lingering::new(stream, self.tasks.clone(), place);
        self.tasks.spawn(async move { abort.run_until_cancelled(open.run(stream)).await });
    }
}

async fn pause(wait: Option<Duration>) {
    if let Some(wait) = wait {
        sleep(wait).await;
    }
}

fn asynchronous(
    accepted: (std::net::TcpStream, SocketAddr),
) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = accepted;
    stream.set_nonblocking(true)?;
    Ok((TcpStream::from_std(stream)?, peer))
}
