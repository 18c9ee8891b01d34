//! Accepting, serving and ending connections.
//!
//! Written on hyper rather than on tonic's `Server` for three reasons: tonic's answers an expired
//! `grpc-timeout` itself, with CANCELLED, before any layer of ours; its graceful shutdown waits for
//! every connection without limit; and its `max_connection_age`, with a grace, drops calls that are
//! in flight.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Service, ServiceExt};
use tracing::debug;

use super::accepting::Acceptor;
use super::lingering::Lingering;
use super::opening::Opening;
use crate::config::ConnectionConfig;
use crate::transport::auth::Peer;
use crate::transport::credentials::Credentials;

/// A whole f32 clip of 256² is 4 MB and fits one stream's window: no round trip in between.
const STREAM_WINDOW: u32 = 8 << 20;
/// A few such clips at once.
pub(super) const CONNECTION_WINDOW: u32 = 32 << 20;
/// Bytes of a frame of HTTP/2 that callers may send. Each is read whole, so a megabyte in frames of
/// the usual 16 KiB wakes its connection 64 times; but a connection can hold one that nobody counts.
pub(crate) const MAX_FRAME_BYTES: u32 = 128 << 10;
/// Unset, hyper's own bound would be removed.
const MAX_CONCURRENT_STREAMS: u32 = 512;
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Callers that have connected when it is time to stop may say their first word for so long, and
/// those that were told to go away may close their end. A socket that closes with words unread
/// resets its connection, and the caller could not tell whether it was heard; a busy machine may
/// keep a caller from its work for a while.
pub(super) const LAST_WORD: Duration = Duration::from_millis(500);
/// An age is drawn from so much around the configured one, so that connections that were made
/// together do not end together.
const AGE_JITTER: f64 = 0.1;

/// The open connections of one listener.
pub(crate) struct Connections {
    /// No new connections; open ones get a GOAWAY and finish.
    stop: CancellationToken,
    /// Open connections are dropped.
    abort: CancellationToken,
    tasks: TaskTracker,
}

/// What every connection is served with.
#[derive(Clone)]
pub(crate) struct Serving<S> {
    pub(crate) service: S,
    pub(crate) config: ConnectionConfig,
    pub(crate) credentials: Arc<Credentials>,
}

/// What answers requests.
pub(crate) trait Answers:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> Answers for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// A connection's lifelines.
pub(super) struct Connection<S> {
    pub(super) serving: Serving<S>,
    pub(super) peer: Peer,
    pub(super) stop: CancellationToken,
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

/// What `work` makes before `end`.
pub(super) async fn until<T>(
    end: impl Future<Output = ()>,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        () = end => None,
        made = work => Some(made),
    }
}

impl<S: Answers> Connection<S> {
    pub(super) async fn run(self, stream: Lingering) {
        let Some(tls) = self.serving.credentials.tls() else {
            // A connection that says nothing costs a task and no more, and that not for ever.
            match until(self.too_late(), stream.peek(&mut [0])).await {
                Some(Ok(1)) => self.serve(stream).await,
                _ => debug!(connection = self.peer.connection, "connection said nothing"),
            }
            return;
        };
        match until(self.too_late(), TlsAcceptor::from(tls).accept(stream)).await {
            Some(Ok(stream)) => self.serve(stream).await,
            Some(Err(error)) => debug!(peer = %self.peer.address, error = %error, "no TLS"),
            None => debug!(connection = self.peer.connection, "TLS did not begin"),
        }
    }

    /// Resolves when the next word of a connection that is being opened would come too late.
    fn too_late(&self) -> impl Future<Output = ()> + Send + 'static {
        let (stop, silence) = (self.stop.clone(), self.serving.config.first_word_timeout);
        async move {
            let _ = timeout(silence, last_word_after(&stop)).await;
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let mut builder = Builder::new(TokioExecutor::new()).http2_only();
        builder
            .http2()
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(MAX_FRAME_BYTES)
            .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
            .keep_alive_interval(KEEPALIVE);
        let stream = Opening::new(stream, self.too_late());
        let peer = self.peer;
        let service = self.serving.service.map_request(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            request
        });
        let connection =
            builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = old_age(self.serving.config.max_age) => {
                debug!(connection = peer.connection, "connection is old: GOAWAY");
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(error = %error, "connection failed");
        }
    }
}

/// Some time after it is time to stop.
async fn last_word_after(stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(LAST_WORD).await;
}

async fn old_age(max_age: Option<Duration>) {
    match max_age {
        Some(age) => sleep(age.mul_f64(1.0 + AGE_JITTER * (2.0 * fastrand::f64() - 1.0))).await,
        None => std::future::pending().await,
    }
}
