//! Who may connect, how long and how many.

use std::path::PathBuf;

use protoguard_service::{ConnectionConfig, CredentialFiles, TlsFiles};

use super::valid::{at_least_one, given, given_ms, wrong};
use super::{ConfigError, RawConfig};

pub(super) fn credentials(raw: &RawConfig) -> Result<CredentialFiles, ConfigError> {
    let path = |text: &str| given(text).map(PathBuf::from);
    let tls = match (path(&raw.tls_certificate), path(&raw.tls_key)) {
        (Some(certificate), Some(key)) => {
            Some(TlsFiles { certificate, key, client_ca: path(&raw.tls_client_ca) })
        }
        (None, None) if raw.tls_client_ca.is_empty() => None,
        (None, _) => {
            return Err(wrong(
                "tls_certificate",
                "",
                "it is expected with tls_key or tls_client_ca",
            ));
        }
        (Some(_), None) => return Err(wrong("tls_key", "", "it is expected with tls_certificate")),
    };
    let (tokens, admin_tokens) = (path(&raw.token_file), path(&raw.admin_token_file));
    Ok(CredentialFiles { tls, tokens, admin_tokens })
}

pub(super) fn connections(raw: &RawConfig) -> Result<ConnectionConfig, ConfigError> {
    Ok(ConnectionConfig {
        max_connections: at_least_one("max_connections", raw.max_connections)?,
        max_age: given_ms(raw.max_connection_age_ms),
        max_receiving_bytes: at_least_one("max_receiving_bytes", raw.max_receiving_bytes)?,
        ..ConnectionConfig::default()
    })
}
