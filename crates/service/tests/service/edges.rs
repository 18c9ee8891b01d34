use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use protoguard_proto::v1;
use protoguard_proto::v1::model_service_client::ModelServiceClient;
use protoguard_proto::v1::score_clip_request::Clip;
use protoguard_proto::v1::scoring_service_client::ScoringServiceClient;
use protoguard_service::testing::FakeFactory;
use protoguard_service::{ConnectionConfig, CredentialFiles, ServiceConfig, TlsFiles};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::codec::CompressionEncoding;
use tonic::codegen::http::Uri;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::bench::{Gate, Served, bounded, clip, config, not_a_number};

fn looking(credentials: CredentialFiles) -> ServiceConfig {
    ServiceConfig { credentials, look_interval: Duration::from_millis(5), ..config() }
}

fn with_connections(connections: ConnectionConfig) -> ServiceConfig {
    ServiceConfig { connections, ..config() }
}

fn bearing<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

async fn score_with(served: &Served, token: &str) -> Code {
    let answer = bounded(served.scoring().await.score_clip(bearing(clip(1), token))).await;
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test]
async fn tokens_open_scoring_and_reloading_apart_and_rotate() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let files = CredentialFiles {
        tls: None,
        tokens: Some(write("tokens", "user-one")),
        admin_tokens: Some(write("admins", "admin-one")),
    };
    let served = Served::ready(FakeFactory::new("hall"), looking(files)).await;
    let none = served.scoring().await.score_clip(clip(1)).await.unwrap_err();
    assert_eq!(none.code(), Code::Unauthenticated);
    assert_eq!(none.get_details_error_info().unwrap().reason, "UNAUTHENTICATED");
    assert_eq!(score_with(&served, "wrong").await, Code::Unauthenticated);
    assert_eq!(score_with(&served, "user-one").await, Code::Ok);

    let reload = async |token: &str| -> Result<(), Status> {
        let mut client: ModelServiceClient<Channel> = served.models().await;
        let request = bearing(v1::ReloadModelRequest::default(), token);
        bounded(client.reload_model(request)).await.map(|_| ())
    };
    let denied = reload("user-one").await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied, "{denied}");
    assert!(reload("admin-one").await.is_ok());

    write("tokens", "user-two\n");
    let rotating = async { while score_with(&served, "user-two").await != Code::Ok {} };
    bounded(rotating).await;
    assert_eq!(score_with(&served, "user-one").await, Code::Unauthenticated);
    write("tokens", "");
    std::fs::remove_file(folder.path().join("admins")).unwrap();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(score_with(&served, "user-two").await, Code::Ok);
    }
    assert!(reload("admin-one").await.is_ok());
    served.stop().await;
}

/// An authority and what it signs.
struct Authority {
    key: KeyPair,
    certificate: Certificate,
}

struct Signed {
    key: KeyPair,
    certificate: Certificate,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { key, certificate }
    }

    fn sign(&self) -> Signed {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.certificate, &self.key).unwrap();
        Signed { key, certificate }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        roots
    }
}

fn write_pair(folder: &TempDir, signed: &Signed) {
    std::fs::write(folder.path().join("key.pem"), signed.key.serialize_pem()).unwrap();
    std::fs::write(folder.path().join("cert.pem"), signed.certificate.pem()).unwrap();
}

/// Scores a clip over a fresh connection, where the handshake succeeds.
async fn score_over_tls(
    served: &Served,
    roots: RootCertStore,
    identity: Option<&Signed>,
) -> Result<(), String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(
        tokio_rustls::rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots);
    let mut tls = match identity {
        Some(signed) => {
            let chain: Vec<CertificateDer<'static>> = vec![signed.certificate.der().clone()];
            let key = PrivateKeyDer::try_from(signed.key.serialize_der()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let address = served.address.trim_start_matches("http://").to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let (tls, address) = (tls.clone(), address.clone());
        async move {
            let stream = TcpStream::connect(address).await?;
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    let channel = bounded(endpoint.connect_with_connector(connector)).await;
    let channel = channel.map_err(|error| format!("{error:?}"))?;
    let answer = bounded(ScoringServiceClient::new(channel).score_clip(clip(1))).await;
    answer.map(|_| ()).map_err(|status| status.to_string())
}

#[tokio::test]
async fn certificates_are_shown_asked_for_and_rotated() {
    let (folder, ours, others) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    write_pair(&folder, &ours.sign());
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, ours.certificate.pem()).unwrap();
    let tls = TlsFiles {
        certificate: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
        client_ca: Some(ca.clone()),
    };
    let files = CredentialFiles { tls: Some(tls), ..CredentialFiles::default() };
    let served = Served::ready(FakeFactory::new("hall"), looking(files)).await;
    let (good, bad) = (ours.sign(), others.sign());
    score_over_tls(&served, ours.roots(), Some(&good)).await.unwrap();
    assert!(score_over_tls(&served, ours.roots(), None).await.is_err());
    assert!(score_over_tls(&served, ours.roots(), Some(&bad)).await.is_err());
    assert!(score_over_tls(&served, others.roots(), Some(&good)).await.is_err());
    let plain = Endpoint::from_shared(served.address.clone()).unwrap().connect().await;
    if let Ok(channel) = plain {
        assert!(bounded(ScoringServiceClient::new(channel).score_clip(clip(1))).await.is_err());
    }

    // A key without its certificate is no pair: the last one stays.
    let next = others.sign();
    std::fs::write(folder.path().join("key.pem"), next.key.serialize_pem()).unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    score_over_tls(&served, ours.roots(), Some(&good)).await.unwrap();
    write_pair(&folder, &next);
    std::fs::write(&ca, others.certificate.pem()).unwrap();
    let rotated =
        async { while score_over_tls(&served, others.roots(), Some(&bad)).await.is_err() {} };
    bounded(rotated).await;
    assert!(score_over_tls(&served, ours.roots(), Some(&good)).await.is_err());
    served.stop().await;
}

#[tokio::test]
async fn an_old_connection_goes_away_and_finishes_what_it_carries() {
    let max_age = Some(Duration::from_millis(150));
    let (factory, mut gate) = Gate::before(FakeFactory::new("hall"));
    let connections = ConnectionConfig { max_age, ..ConnectionConfig::default() };
    let served = Served::ready(factory, with_connections(connections)).await;
    // A bare HTTP/2 connection, so that its end is seen rather than mended.
    let address = served.address.trim_start_matches("http://").to_owned();
    let stream = TcpStream::connect(address).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await.unwrap();
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
    assert!(!carried.is_finished() && !connection.is_finished());
    gate.release();
    assert!(bounded(carried).await.unwrap().is_ok());
    bounded(connection).await.unwrap().unwrap();
    served.stop().await;
}

/// hyper's sender as tonic's clients take it.
#[derive(Clone)]
struct Sender(hyper::client::conn::http2::SendRequest<tonic::body::Body>);

impl tower::Service<hyper::Request<tonic::body::Body>> for Sender {
    type Response = hyper::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: hyper::Request<tonic::body::Body>) -> Self::Future {
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
async fn half_a_message_is_waited_for_no_longer_than_the_bound() {
    let receive_timeout = Duration::from_millis(100);
    let connections = ConnectionConfig { receive_timeout, ..ConnectionConfig::default() };
    let served = Served::ready(FakeFactory::new("hall"), with_connections(connections)).await;
    let (sender, frames) = tokio::sync::mpsc::channel::<Result<_, Infallible>>(2);
    // A message of 100 bytes of which 10 come.
    let head = [&[0, 0, 0, 0, 100][..], &[1; 10][..]].concat();
    sender.send(Ok(hyper::body::Frame::data(hyper::body::Bytes::from(head)))).await.unwrap();
    let address = served.address.trim_start_matches("http://").to_owned();
    let stream = TcpStream::connect(address).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request =
        hyper::Request::post(format!("{}/protoguard.v1.ScoringService/ScoreClip", served.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Half(frames))
            .unwrap();
    let response = bounded(client.send_request(request)).await.unwrap();
    // DEADLINE_EXCEEDED.
    assert_eq!(response.headers()["grpc-status"], "4", "{response:?}");
    drop(sender);
    assert!(bounded(served.scoring().await.score_clip(clip(1))).await.is_ok());
    served.stop().await;
}

/// A body that ends when its sender does.
struct Half(
    tokio::sync::mpsc::Receiver<Result<hyper::body::Frame<hyper::body::Bytes>, Infallible>>,
);

impl hyper::body::Body for Half {
    type Data = hyper::body::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<hyper::body::Bytes>, Infallible>>> {
        self.0.poll_recv(context)
    }
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
