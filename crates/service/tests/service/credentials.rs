//! TLS and tokens over real sockets.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use protoguard_proto::v1;
use protoguard_proto::v1::scoring_service_client::ScoringServiceClient;
use protoguard_service::testing::FakeFactory;
use protoguard_service::{CredentialFiles, ServiceConfig, TlsFiles};
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::codegen::http::Uri;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use tonic_types::StatusExt;

use crate::bench::{Served, bounded, clip, config};

fn looking(credentials: CredentialFiles) -> ServiceConfig {
    ServiceConfig { credentials, look_interval: Duration::from_millis(5), ..config() }
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

async fn reload_with(served: &Served, token: &str) -> Code {
    let request = bearing(v1::ReloadModelRequest::default(), token);
    let answer = bounded(served.models().await.reload_model(request)).await;
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
        resume_key: None,
    };
    let served = Served::ready(FakeFactory::new("hall"), looking(files)).await;
    let none = served.scoring().await.score_clip(clip(1)).await.unwrap_err();
    assert_eq!(none.code(), Code::Unauthenticated);
    assert_eq!(none.get_details_error_info().unwrap().reason, "UNAUTHENTICATED");
    assert_eq!(score_with(&served, "wrong").await, Code::Unauthenticated);
    assert_eq!(score_with(&served, "user-one").await, Code::Ok);

    assert_eq!(reload_with(&served, "user-one").await, Code::PermissionDenied);
    assert_eq!(reload_with(&served, "admin-one").await, Code::Ok);

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
    assert_eq!(reload_with(&served, "admin-one").await, Code::Ok);
    served.stop().await;
}

/// An authority and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

struct Signed {
    key: KeyPair,
    certificate: Certificate,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn sign(&self) -> Signed {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Signed { key, certificate }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
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
        let tls = tls.clone();
        let address = address.clone();
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
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new();
    let others = Authority::new();
    write_pair(&folder, &ours.sign());
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, ours.0.pem()).unwrap();
    let tls = TlsFiles {
        certificate: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
        client_ca: Some(ca.clone()),
    };
    let files = CredentialFiles { tls: Some(tls), ..CredentialFiles::default() };
    let served = Served::ready(FakeFactory::new("hall"), looking(files)).await;
    let good = ours.sign();
    let bad = others.sign();
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
    std::fs::write(&ca, others.0.pem()).unwrap();
    let rotated =
        async { while score_over_tls(&served, others.roots(), Some(&bad)).await.is_err() {} };
    bounded(rotated).await;
    assert!(score_over_tls(&served, ours.roots(), Some(&good)).await.is_err());
    served.stop().await;
}
