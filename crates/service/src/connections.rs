//! Accepting, serving and ending connections.
//!
//! Written on hyper rather than on tonic's `Server` for two reasons: tonic's answers an expired
//! `grpc-timeout` itself, with CANCELLED, before any layer of ours; and its graceful shutdown
//! waits for every connection without limit.

use std::convert::Infallible;
use std::time::Duration;

use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Service, ServiceExt};
use tracing::{debug, warn};

/// A whole f32 clip of 256² is 4 MB and fits one stream's window: no round trip in between.
const STREAM_WINDOW: u32 = 8 << 20;
/// A few such clips at once.
const CONNECTION_WINDOW: u32 = 32 << 20;
/// Unset, hyper's own bound would be removed.
const MAX_CONCURRENT_STREAMS: u32 = 512;
const KEEPALIVE: Duration = Duration::from_secs(30);
/// When the system has no file descriptors left, accepting again at once only spins.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

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
    pub(crate) fn serve<S>(listener: TcpListener, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
    {
        let connections = Self {
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let (stop, abort) = (connections.stop.clone(), connections.abort.clone());
        let tasks = connections.tasks.clone();
        connections.tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    // Dropping the listener closes the port.
                    () = stop.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                match accepted {
                    Ok((stream, peer)) => {
                        debug!(peer = %peer, "connection accepted");
                        let served = serve_connection(stream, service.clone(), stop.clone());
                        let abort = abort.clone();
                        tasks.spawn(async move { abort.run_until_cancelled(served).await });
                    }
                    Err(error) => {
                        warn!(error = %error, "connection not accepted");
                        tokio::time::sleep(ACCEPT_BACKOFF).await;
                    }
                }
            }
        });
        connections
    }

    /// Stops accepting and waits until every connection has finished, for as long as `patience`.
    /// Says whether all finished.
    pub(crate) async fn drain(&self, patience: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(patience, self.tasks.wait()).await.is_ok()
    }

    /// Drops what is left.
    pub(crate) async fn abort(&self) {
        self.abort.cancel();
        self.tasks.wait().await;
    }
}

async fn serve_connection<S>(stream: TcpStream, service: S, stop: CancellationToken)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    if let Err(error) = stream.set_nodelay(true) {
        debug!(error = %error, "no nodelay");
    }
    let mut builder = Builder::new(TokioExecutor::new()).http2_only();
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .keep_alive_interval(KEEPALIVE);
    let service = service.map_request(|request: Request<Incoming>| request.map(Body::new));
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(error = %error, "connection failed");
    }
}
