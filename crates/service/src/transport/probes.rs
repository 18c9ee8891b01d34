//! A port of its own for Prometheus and for probes that speak HTTP and no gRPC.
//!
//! | path | answers |
//! |---|---|
//! | `/metrics` | the metrics, in Prometheus's text format |
//! | `/healthz` | 200 unless a restart would help |
//! | `/readyz` | 200 while clips are answered, and in words what stands against it |
//!
//! It serves from the moment that it is bound, loading and draining included, and needs neither
//! token nor certificate: keep it inside.

use std::convert::Infallible;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::health::Condition;
use crate::metrics::Metrics;

const METRICS_TYPE: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const TEXT_TYPE: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// A scraper and a few probes.
const MAX_CONNECTIONS: usize = 64;
const HEAD_PATIENCE: Duration = Duration::from_secs(5);
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// What a service tells on the probes' port.
#[derive(Clone, Debug)]
pub struct Probes {
    pub(crate) metrics: Metrics,
    pub(crate) condition: watch::Receiver<Condition>,
}

impl Probes {
    /// Answers on `listener` until dropped.
    pub async fn serve(self, listener: TcpListener) -> Infallible {
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, _)) if connections.len() < MAX_CONNECTIONS => {
                    connections.spawn(serve_one(self.clone(), stream));
                }
                Ok((_, peer)) => warn!(peer = %peer, "probe refused: too many"),
                Err(error) => {
                    warn!(error = %error, "probe not accepted");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<String> {
        if method != Method::GET && method != Method::HEAD {
            return said(StatusCode::METHOD_NOT_ALLOWED, "GET is expected\n".to_owned());
        }
        let condition = self.condition.borrow().clone();
        let state = |good| {
            let code = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            said(code, condition.words() + "\n")
        };
        match path {
            "/metrics" => {
                let mut response = said(StatusCode::OK, self.metrics.page());
                response.headers_mut().insert(CONTENT_TYPE, METRICS_TYPE);
                response
            }
            "/healthz" => state(condition.is_live()),
            "/readyz" => state(condition.is_ready()),
            _ => {
                said(StatusCode::NOT_FOUND, "/metrics, /healthz and /readyz are here\n".to_owned())
            }
        }
    }
}

async fn serve_one(probes: Probes, stream: TcpStream) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let response = probes.answer(request.method(), request.uri().path());
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), answer).await {
        debug!(error = %error, "probe failed");
    }
}

fn said(code: StatusCode, text: String) -> Response<String> {
    let mut response = Response::new(text);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, TEXT_TYPE);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Phase;

    #[test]
    fn every_path_says_what_it_should() {
        let (sender, condition) = watch::channel(Condition::default());
        let probes = Probes { metrics: Metrics::default(), condition };
        let code = |path| probes.answer(&Method::GET, path).status().as_u16();
        assert_eq!(["/metrics", "/healthz", "/readyz", "/"].map(code), [200, 200, 503, 404]);
        sender.send_modify(|condition| condition.phase = Phase::Serving);
        assert_eq!(code("/readyz"), 200);
        sender.send_modify(|condition| condition.hanging = 1);
        assert_eq!(["/healthz", "/readyz"].map(code), [503, 503]);
        let words = probes.answer(&Method::GET, "/readyz").into_body();
        assert_eq!(words, "serving\n1 forward passes hang\n");
        assert_eq!(probes.answer(&Method::POST, "/metrics").status().as_u16(), 405);
    }
}
