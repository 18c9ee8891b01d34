//! One connection, from its first bytes to its end.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{BoxError, Service, ServiceExt};
use tracing::debug;

use super::credentials::Credentials;
use super::limits::{
    CLOSE_TIMEOUT, CONNECTION_WINDOW, ConnectionConfig, KEEPALIVE, MAX_CONCURRENT_STREAMS,
    MAX_FRAME_BYTES, STREAM_WINDOW,
};
use super::lingering::Lingering;
use super::opening::Opening;
use super::peer::Peer;

/// An age is drawn from so much around the configured one, so that connections that were made
/// together do not end together.
const AGE_JITTER: f64 = 0.1;

/// What every connection is served with.
#[derive(Clone)]
pub(crate) struct Serving<S> {
    pub(crate) service: S,
    pub(crate) config: ConnectionConfig,
    pub(crate) credentials: Arc<Credentials>,
}

/// What answers requests.
pub(crate) trait Answers:
    Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> Answers for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send>
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

    /// Resolves when the next bytes of a connection that is being opened would come too late.
    fn too_late(&self) -> impl Future<Output = ()> + Send + 'static {
        let stop = self.stop.clone();
        let silence = self.serving.config.first_word_timeout;
        async move {
            let _ = timeout(silence, closing_time_after(&stop)).await;
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
async fn closing_time_after(stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(CLOSE_TIMEOUT).await;
}

async fn old_age(max_age: Option<Duration>) {
    match max_age {
        Some(age) => sleep(age.mul_f64(1.0 + AGE_JITTER * (2.0 * fastrand::f64() - 1.0))).await,
        None => std::future::pending().await,
    }
}
