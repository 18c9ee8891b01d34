//! Who may connect or stream, how long and how many.

use protoguard_service::{ConnectionConfig, CredentialFiles, StreamConfig, TlsFiles};

use super::valid::wrong;
use super::{ConfigError, RawConfig};

pub(super) fn credentials(raw: &RawConfig) -> Result<CredentialFiles, ConfigError> {
    let client_ca = raw.tls_client_ca.0.clone();
    let tls = match (raw.tls_certificate.0.clone(), raw.tls_key.0.clone()) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key, client_ca }),
        (None, None) if client_ca.is_none() => None,
        (None, _) => {
            return Err(wrong(
                "tls_certificate",
                "",
                "it is expected with tls_key or tls_client_ca",
            ));
        }
        (Some(_), None) => return Err(wrong("tls_key", "", "it is expected with tls_certificate")),
    };
    Ok(CredentialFiles {
        tls,
        tokens: raw.token_file.0.clone(),
        admin_tokens: raw.admin_token_file.0.clone(),
        resume_key: raw.resume_key_file.0.clone(),
    })
}

pub(super) fn streams(raw: &RawConfig) -> StreamConfig {
    StreamConfig {
        max_streams: raw.max_streams.size(),
        max_age: raw.max_stream_age_ms.given_ms(),
        false_alarms_an_hour: raw.false_alarms_an_hour.0,
    }
}

pub(super) fn connections(raw: &RawConfig) -> ConnectionConfig {
    ConnectionConfig {
        max_connections: raw.max_connections.size(),
        max_age: raw.max_connection_age_ms.given_ms(),
        max_receiving_bytes: raw.max_receiving_bytes.size(),
        ..ConnectionConfig::default()
    }
}
