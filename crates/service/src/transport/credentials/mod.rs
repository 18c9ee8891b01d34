//! Who may speak to the server, from files that may change while it runs.
//!
//! A token is kept as its SHA-256 alone and compared with all known ones in constant time; no
//! error and no line of the log carries one. Every file is read again when it changes; one that
//! cannot be used leaves the last good one in force, because a half-finished rotation must lock
//! nobody out.

pub(crate) mod files;
pub(crate) mod resume_key;
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
use resume_key::ResumeKey;
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
    resume_key: Option<Rotating<ResumeKey>>,
}

/// A request, as far as it says who sent it.
pub(crate) struct Caller<'a> {
    /// `/package.Service/Method`.
    pub(crate) method: &'a str,
    pub(crate) address: Option<IpAddr>,
    pub(crate) headers: &'a HeaderMap,
}

/// A caller whose call lasts, and whose credential may lose its force meanwhile; a request
/// extension.
#[derive(Clone)]
pub(crate) struct Standing {
    credentials: Arc<Credentials>,
    method: String,
    address: Option<IpAddr>,
    /// The credential alone.
    headers: HeaderMap,
}

impl Standing {
    pub(crate) fn new(credentials: Arc<Credentials>, caller: &Caller<'_>) -> Self {
        let credential = caller.headers.get(AUTHORIZATION);
        let headers = credential.map(|value| (AUTHORIZATION, value.clone())).into_iter().collect();
        Self { credentials, method: caller.method.to_owned(), address: caller.address, headers }
    }

    /// Whether the caller may still call the method.
    ///
    /// # Errors
    /// As [`Credentials::check`].
    pub(crate) fn check(&self) -> Result<(), ServiceError> {
        let Self { credentials, method, address, headers } = self;
        credentials.check(&Caller { method, address: *address, headers })
    }
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
        let resume_key = files.resume_key.clone().map(|path| {
            let read = move |path: &PathBuf| ResumeKey::read("resume_key_file", path);
            Rotating::open("resume_key_file", vec![path.clone()], move || read(&path))
        });
        Ok(Self {
            resume_key: resume_key.transpose()?,
            tls: tls.transpose()?,
            tokens: tokens("token_file", &files.tokens)?,
            admin_tokens: tokens("admin_token_file", &files.admin_tokens)?,
        })
    }

    /// Reads again what has changed. Blocks for as long as that takes.
    pub(crate) fn refresh(&self) {
        self.tls.iter().for_each(Rotating::refresh);
        self.tokens.iter().chain(&self.admin_tokens).for_each(Rotating::refresh);
        self.resume_key.iter().for_each(Rotating::refresh);
    }

    pub(crate) fn are_none(&self) -> bool {
        self.tls.is_none()
            && self.tokens.is_none()
            && self.admin_tokens.is_none()
            && self.resume_key.is_none()
    }

    /// How the next connection is encrypted, where it is.
    pub(crate) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.as_ref().map(Rotating::current)
    }

    /// What signs the resume tokens of streams.
    pub(crate) fn resume_key(&self) -> Arc<ResumeKey> {
        self.resume_key.as_ref().map(Rotating::current).unwrap_or_default()
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
