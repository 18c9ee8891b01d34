//! Connections that are old, silent, compressed, too many or no HTTP.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use protoguard_proto::v1;
use protoguard_proto::v1::score_clip_request::Clip;
use protoguard_proto::v1::scoring_service_client::ScoringServiceClient;
use protoguard_service::testing::FakeFactory;
use protoguard_service::{ConnectionConfig, ServiceConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::codegen::http::Uri;
use tonic::transport::Channel;
use tonic_types::StatusExt;

use crate::bench::{Gate, Served, bounded, clip, config, not_a_number};

fn with_connections(connections: ConnectionConfig) -> ServiceConfig {
    ServiceConfig { connections, ..config() }
}

#[tokio::test]
async fn an_old_connection_goes_away_and_finishes_what_it_carries() {
    let max_age = Some(Duration::from_secs(1));
    let (factory, mut gate) = Gate::before(FakeFactory::new("hall"));
    let connections = ConnectionConfig { max_age, ..ConnectionConfig::default() };
    let served = Served::ready(factory, with_connections(connections)).await;
    // A bare HTTP/2 connection, so that its end is seen rather than mended.
    let address = served.address.trim_start_matches("http://").to_owned();
    let stream = TcpStream::connect(address).await.unwrap();
    let executor = TokioExecutor::new();
    let (sender, connection) = http2::handshake(executor, TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let origin: Uri = served.address.parse().unwrap();
    let mut client = ScoringServiceClient::with_origin(Sender(sender), origin);
    let mut second = client.clone();
    let carried = tokio::spawn(async move { client.score_clip(clip(1)).await });
    assert_eq!(gate.entered().await, [1]);
    // Past its age, with one call in flight: new ones go elsewhere, this one is answered.
    let gone_away = async {
        while second.score_clip(not_a_number()).await.unwrap_err().code() == Code::InvalidArgument {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    bounded(gone_away).await;
    assert!(!carried.is_finished());
    gate.release();
    assert!(bounded(carried).await.unwrap().is_ok());
    bounded(connection).await.unwrap().unwrap();
    served.stop().await;
}

/// hyper's sender as tonic's clients take it.
#[derive(Clone)]
struct Sender(http2::SendRequest<Body>);

impl tower::Service<hyper::Request<Body>> for Sender {
    type Response = hyper::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: hyper::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

#[tokio::test]
async fn messages_travel_compressed_and_bombs_are_refused() {
    let mut limits = config();
    limits.max_message_bytes = 1 << 20;
    let served = Served::ready(FakeFactory::new("hall"), limits).await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let client = served.scoring().await.send_compressed(encoding).accept_compressed(encoding);
        let mut client = client;
        let view = v1::View::Full as i32;
        let request = v1::ScoreClipRequest { view, ..clip(1) };
        let answer = bounded(client.score_clip(request)).await.unwrap();
        let expected = if encoding == CompressionEncoding::Gzip { "gzip" } else { "zstd" };
        assert_eq!(answer.metadata().get("grpc-encoding").unwrap(), expected);
        let mut bomb = clip(1);
        let Some(Clip::RawFrames(frames)) = &mut bomb.clip else { panic!("not raw") };
        frames.data = vec![0; 8 << 20].into();
        let refused = bounded(client.score_clip(bomb)).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        assert_eq!(refused.get_details_error_info().unwrap().reason, "MESSAGE_TOO_LARGE");
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_silent_connections_hurt_nobody_and_end() {
    let first_word_timeout = Duration::from_secs(2);
    let connections = ConnectionConfig { first_word_timeout, ..ConnectionConfig::default() };
    let served = Served::ready(FakeFactory::new("hall"), with_connections(connections)).await;
    let address = served.address.trim_start_matches("http://").to_owned();
    let mut silent = Vec::new();
    // As many as this process may open beside what the tests have open already.
    for _ in 0..1000 {
        match TcpStream::connect(&address).await {
            Ok(stream) => silent.push(stream),
            Err(_) => break,
        }
    }
    // Some say nothing, others fall silent in the middle of the first words.
    for (said, stream) in silent.iter_mut().enumerate() {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        stream.write_all(&preface[..said % preface.len()]).await.unwrap();
    }
    silent.truncate(silent.len().saturating_sub(20));
    assert!(silent.len() >= 300, "{}", silent.len());
    let mut client = served.scoring().await;
    for value in 0..20 {
        assert!(bounded(client.score_clip(clip(value))).await.is_ok());
    }
    for mut stream in silent {
        // The server hangs up.
        let mut nothing = [0; 64];
        let ended = async { while matches!(stream.read(&mut nothing).await, Ok(1..)) {} };
        bounded(ended).await;
    }
    assert!(bounded(client.score_clip(clip(1))).await.is_ok());
    served.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_at_once() {
    let connections = ConnectionConfig { max_connections: 2, ..ConnectionConfig::default() };
    let served = Served::ready(FakeFactory::new("hall"), with_connections(connections)).await;
    let address = served.address.trim_start_matches("http://").to_owned();
    let held =
        [TcpStream::connect(&address).await.unwrap(), TcpStream::connect(&address).await.unwrap()];
    let mut refused = TcpStream::connect(&address).await.unwrap();
    let mut nothing = [0; 8];
    assert!(!matches!(bounded(refused.read(&mut nothing)).await, Ok(1..)));
    drop(held);
    let free = async {
        loop {
            let Ok(channel) = Channel::from_shared(served.address.clone()).unwrap().connect().await
            else {
                continue;
            };
            if ScoringServiceClient::new(channel).score_clip(clip(1)).await.is_ok() {
                return;
            }
        }
    };
    bounded(free).await;
    served.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_http_end_their_connection_alone() {
    let served = Served::ready(FakeFactory::new("hall"), config()).await;
    let address = served.address.trim_start_matches("http://").to_owned();
    let mut client = served.scoring().await;
    for seed in 0..50u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(200).collect();
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let _ = stream.write_all(&noise).await;
        let mut sink = Vec::new();
        let _ = stream.shutdown().await;
        let _ = bounded(stream.read_to_end(&mut sink)).await;
    }
    assert!(bounded(client.score_clip(clip(1))).await.is_ok());
    served.stop().await;
}
