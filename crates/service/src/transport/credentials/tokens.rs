//! Bearer tokens, kept as digests.

use std::fmt;
use std::path::Path;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::files::CredentialError;

/// The digests of known tokens.
pub(super) struct Tokens(Vec<[u8; 32]>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

impl Tokens {
    /// Reads a file with one token a line. Empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// When it cannot be read, has no token, or has one that no header can carry.
    pub(super) fn read(key: &'static str, path: &Path) -> Result<Self, CredentialError> {
        let wrong = |reason: String| CredentialError { key, path: path.to_owned(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let mut digests = Vec::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if !line.bytes().all(|byte| byte.is_ascii_graphic()) {
                let reason = "is no token; ASCII without spaces is expected";
                return Err(wrong(format!("line {number} {reason}")));
            }
            digests.push(digest(line));
        }
        if digests.is_empty() {
            return Err(wrong(
                "it has no token; at least one line with one is expected".to_owned(),
            ));
        }
        Ok(Self(digests))
    }

    /// Whether the token is known, in a time that does not tell how nearly.
    pub(super) fn hold(&self, token: &str) -> bool {
        let asked = digest(token);
        let found = self.0.iter().fold(Choice::from(0), |found, known| found | known.ct_eq(&asked));
        found.into()
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
