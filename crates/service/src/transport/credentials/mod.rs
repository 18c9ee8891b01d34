//! Who may speak to the server, from files that may change while it runs.
//!
//! A token is kept as its SHA-256 alone and compared with all known ones in constant time; no
//! error and no line of the log carries one. Every file is read again when it changes; one that
//! cannot be used leaves the last good one in force, because a half-finished rotation must lock
//! nobody out.

pub(crate) mod files;
mod rotating;
mod tls;
mod tokens;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;
use tonic::codegen::http::HeaderMap;
use tonic::codegen::http::header::AUTHORIZATION;

use crate::error::ServiceError;
use files::{CredentialError, CredentialFiles};
use rotating::Rotating;
use tokens::Tokens;

/// The methods that change the server.
const ADMIN_METHODS: [&str; 1] = ["/protoguard.v1.ModelService/ReloadModel"];
/// Probes carry no credential.
const OPEN_SERVICE: &str = "/grpc.health.v1.Health/";

/// The files in force.
pub(crate) struct Credentials {
    tls: Option<Rotating<ServerConfig>>,
    tokens: Option<Rotating<Tokens>>,
    admin_tokens: Option<Rotating<Tokens>>,
}

/// A request, as far as it says who sent it.
pub(crate) struct Caller<'a> {
    /// `/package.Service/Method`.
    pub(crate) method: &'a str,
    pub(crate) address: Option<IpAddr>,
    pub(crate) headers: &'a HeaderMap,
}

impl Credentials {
    /// Reads every file.
    ///
    /// # Errors
    /// When one is missing or cannot be used.
    pub(crate) fn open(files: &CredentialFiles) -> Result<Self, CredentialError> {
        let tls = files.tls.clone().map(|files| {
            let paths = [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()];
            let paths = paths.into_iter().flatten().cloned().collect();
            Rotating::open("certificate", paths, move || tls::server_config(&files))
        });
        let tokens = |key: &'static str, path: &Option<PathBuf>| {
            let open = |path: PathBuf| {
                Rotating::open(key, vec![path.clone()], move || Tokens::read(key, &path))
            };
            path.clone().map(open).transpose()
        };
        Ok(Self {
            tls: tls.transpose()?,
            tokens: tokens("token_file", &files.tokens)?,
            admin_tokens: tokens("admin_token_file", &files.admin_tokens)?,
        })
    }

    /// Reads again what has changed. Blocks for as long as that takes.
    pub(crate) fn refresh(&self) {
        self.tls.iter().for_each(Rotating::refresh);
        self.tokens.iter().chain(&self.admin_tokens).for_each(Rotating::refresh);
    }

    pub(crate) fn are_none(&self) -> bool {
        self.tls.is_none() && self.tokens.is_none() && self.admin_tokens.is_none()
    }

    /// How the next connection is encrypted, where it is.
    pub(crate) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.as_ref().map(Rotating::current)
    }

    /// Whether the caller may call the method.
    ///
    /// # Errors
    /// UNAUTHENTICATED without a known token, PERMISSION_DENIED where a known one is not enough.
    pub(crate) fn check(&self, caller: &Caller<'_>) -> Result<(), ServiceError> {
        if caller.method.starts_with(OPEN_SERVICE) {
            return Ok(());
        }
        let token = bearer(caller.headers);
        let holds = |tokens: &Option<Rotating<Tokens>>| {
            let tokens = tokens.as_ref().map(Rotating::current);
            tokens.zip(token).is_some_and(|(tokens, token)| tokens.hold(token))
        };
        let is_known = holds(&self.tokens);
        let is_admin = holds(&self.admin_tokens);
        let why = if token.is_some() { "the token is not known" } else { "there is no token" };
        if self.tokens.is_some() && !is_known && !is_admin {
            return Err(ServiceError::Unauthenticated { why });
        }
        if !ADMIN_METHODS.contains(&caller.method) || is_admin {
            return Ok(());
        }
        let denied = |accepted| {
            let method = caller.method.trim_start_matches('/').to_owned();
            Err(ServiceError::PermissionDenied { method, accepted })
        };
        match self.admin_tokens {
            Some(_) if is_known => denied("a token of admin_token_file is accepted"),
            Some(_) => Err(ServiceError::Unauthenticated { why }),
            None if caller.address.is_some_and(|address| address.to_canonical().is_loopback()) => {
                Ok(())
            }
            None => denied("without an admin_token_file, callers from the loopback are accepted"),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

#[cfg(test)]
mod tests;
