//! Tokens and certificates, as grpcurl presents them.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::programs::{Finished, tool};
use crate::server::Server;
use crate::trained::trained;

const PROBE: &str = r#"{"testClip": "TEST_CLIP_NORMAL"}"#;
const SCORE_CLIP: &str = "protoguard.v1.ScoringService/ScoreClip";
const RELOAD: &str = "protoguard.v1.ModelService/ReloadModel";

async fn call(server: &Server, method: &str, more: &[&str]) -> Finished {
    let mut grpcurl = tool("grpcurl");
    let data = if method == SCORE_CLIP { PROBE } else { "{}" };
    let port = server.address.rsplit(':').next().unwrap();
    grpcurl.args(more).args(["-d", data, &format!("localhost:{port}"), method]);
    Finished::of(grpcurl).await
}

#[tokio::test]
async fn a_token_is_asked_for_and_rotates_and_is_never_logged() {
    let trained = trained().await;
    let root = tempfile::tempdir().unwrap();
    let (tokens, admins) = (root.path().join("tokens"), root.path().join("admins"));
    fs::write(&tokens, "swordfish\n").unwrap();
    fs::write(&admins, "marlin\n").unwrap();
    let files = [
        "--token-file",
        tokens.to_str().unwrap(),
        "--admin-token-file",
        admins.to_str().unwrap(),
        "--log-level",
        "debug",
    ];
    let server = Server::start_with(&trained.checkpoint, &files).await;
    let score = async |token: &str| {
        let header = format!("authorization: Bearer {token}");
        // Reflection asks for the token too.
        call(&server, SCORE_CLIP, &["-plaintext", "-H", &header]).await
    };
    assert!(score("swordfish").await.success().contains("psnrDb"));
    assert!(score("wrong").await.stderr.contains("Unauthenticated"));
    let reload = async |token: &str| {
        call(&server, RELOAD, &["-plaintext", "-H", &format!("authorization: Bearer {token}")])
            .await
    };
    assert!(reload("swordfish").await.stderr.contains("PermissionDenied"));
    assert!(reload("marlin").await.success().contains("previousVersion"));
    fs::write(&tokens, "barracuda\n").unwrap();
    while score("barracuda").await.code != Some(0) {}
    assert!(score("swordfish").await.stderr.contains("Unauthenticated"));
    // Probes carry no token.
    let health = server.client().await.health("").await.unwrap();
    assert_eq!(health, protoguard_client::Health::Serving);
    server.signal("TERM").await;
    let (_, log) = server.ended().await;
    for secret in ["swordfish", "marlin", "barracuda"] {
        assert!(!log.contains(secret), "{log}");
    }
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Signs a fresh key into `NAME.key` and `NAME.pem`.
    fn sign(&self, folder: &Path, name: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        fs::write(folder.join(name).with_extension("key"), key.serialize_pem()).unwrap();
        fs::write(folder.join(name).with_extension("pem"), certificate.pem()).unwrap();
    }
}

#[tokio::test]
async fn certificates_are_shown_and_asked_for_and_rotate() {
    let trained = trained().await;
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let (first, next) = (Authority::new(), Authority::new());
    fs::write(path("first-ca.pem"), first.0.pem()).unwrap();
    fs::write(path("next-ca.pem"), next.0.pem()).unwrap();
    first.sign(root.path(), "server");
    first.sign(root.path(), "caller");
    let (certificate, key, ca) = (path("server.pem"), path("server.key"), path("first-ca.pem"));
    let files = ["--tls-certificate", &certificate, "--tls-key", &key, "--tls-client-ca", &ca];
    let server = Server::start_with(&trained.checkpoint, &files).await;
    let (caller, caller_key) = (path("caller.pem"), path("caller.key"));
    let score = async |ca: &str| {
        let ca = path(ca);
        let more = ["-cacert", &ca, "-cert", &caller, "-key", &caller_key];
        call(&server, SCORE_CLIP, &[&more[..], &["-max-time", "20"]].concat()).await
    };
    assert!(score("first-ca.pem").await.success().contains("psnrDb"));
    let nameless = ["-cacert", &ca, "-max-time", "5"];
    assert_ne!(call(&server, SCORE_CLIP, &nameless).await.code, Some(0));
    assert_ne!(call(&server, SCORE_CLIP, &["-plaintext", "-max-time", "5"]).await.code, Some(0));
    next.sign(root.path(), "server");
    while score("next-ca.pem").await.code != Some(0) {}
    server.signal("TERM").await;
    assert!(server.ended().await.0.success());
}
