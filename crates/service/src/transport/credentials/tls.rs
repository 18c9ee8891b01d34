//! Certificates and keys, as rustls takes them.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::files::{CredentialError, TlsFiles};

/// gRPC speaks nothing else.
const HTTP2: &[u8] = b"h2";

/// What connections are encrypted with, from the files as they are now.
pub(super) fn server_config(files: &TlsFiles) -> Result<ServerConfig, CredentialError> {
    let certificates = certificates("tls_certificate", &files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| wrong("tls_key", &files.key, error))?;
    let unusable = |error| wrong("tls_certificate", &files.certificate, error);
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match &files.client_ca {
        Some(path) => builder.with_client_cert_verifier(client_verifier(path)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(unusable)?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(config)
}

fn client_verifier(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, CredentialError> {
    const KEY: &str = "tls_client_ca";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(KEY, path)? {
        roots.add(certificate).map_err(|error| wrong(KEY, path, error))?;
    }
    let provider = Arc::new(ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| wrong(KEY, path, error))
}

fn certificates(
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| wrong(key, path, error))?;
    let found: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| wrong(key, path, error))?;
    if found.is_empty() {
        return Err(wrong(key, path, "it has no certificate in PEM; at least one is expected"));
    }
    Ok(found)
}

fn wrong(key: &'static str, path: &Path, reason: impl ToString) -> CredentialError {
    CredentialError { key, path: path.to_owned(), reason: reason.to_string() }
}
