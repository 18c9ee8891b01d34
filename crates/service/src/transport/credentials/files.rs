//! Where credentials lie, and what is said of a file that cannot be used.

use std::path::PathBuf;

/// The files that say who may speak to the server; each is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialFiles {
    /// Encrypts connections.
    pub tls: Option<TlsFiles>,
    /// Bearer tokens, one a line; without it every caller may ask for scores.
    pub tokens: Option<PathBuf>,
    /// Tokens of administrators, which are accepted everywhere; without it administrators are the
    /// callers from the loopback.
    pub admin_tokens: Option<PathBuf>,
    /// Secret that resume tokens of streams are signed with, the same on all servers; without it
    /// they are protected against damage alone.
    pub resume_key: Option<PathBuf>,
}

/// A certificate, its key, and whose certificates are asked of callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Chain in PEM, the server's own certificate first.
    pub certificate: PathBuf,
    /// Private key in PEM.
    pub key: PathBuf,
    /// Authorities in PEM; with them every caller needs a certificate of theirs.
    pub client_ca: Option<PathBuf>,
}

/// A file of keys, certificates or tokens that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {}: {reason}", path.display())]
pub struct CredentialError {
    /// The configuration's key.
    pub key: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, never a part of it.
    pub reason: String,
}
