//! The key by which servers know each other's resume tokens.

use std::fmt;
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::files::CredentialError;

/// Bytes of a signature, which stands before what it signs.
const SIGNATURE: usize = 32;
/// Bytes of a secret, at least.
const LEAST: usize = 16;

/// Signs with HMAC-SHA-256. The default, which every server has, guards against damage and not
/// against forgery.
#[derive(Default)]
pub(crate) struct ResumeKey(Vec<u8>);

impl fmt::Debug for ResumeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeKey")
    }
}

impl ResumeKey {
    /// Reads a file whose bytes, but for white space at its ends, are the secret.
    ///
    /// # Errors
    /// When it cannot be read or is too short to be a secret.
    pub(super) fn read(key: &'static str, path: &Path) -> Result<Self, CredentialError> {
        let wrong = |reason: String| CredentialError { key, path: path.to_owned(), reason };
        let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let secret = bytes.trim_ascii();
        if secret.len() < LEAST {
            let found = secret.len();
            return Err(wrong(format!("it has {found} bytes; at least {LEAST} are expected")));
        }
        Ok(Self(secret.to_vec()))
    }

    /// The bytes behind their signature.
    pub(crate) fn signed(&self, content: &[u8]) -> Vec<u8> {
        let mut mac = self.mac();
        mac.update(content);
        let mut signed = mac.finalize().into_bytes().to_vec();
        signed.extend_from_slice(content);
        signed
    }

    /// What was signed; nothing where the signature is not of this key.
    pub(crate) fn opened<'a>(&self, signed: &'a [u8]) -> Option<&'a [u8]> {
        let (signature, content) = signed.split_at_checked(SIGNATURE)?;
        let mut mac = self.mac();
        mac.update(content);
        mac.verify_slice(signature).ok()?;
        Some(content)
    }

    fn mac(&self) -> Hmac<Sha256> {
        Hmac::new_from_slice(&self.0).expect("a key of HMAC may have any length")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_opened_by_the_same_key_alone() {
        let [one, other] =
            ["0123456789abcdef", "fedcba9876543210"].map(|secret| ResumeKey(secret.into()));
        let signed = one.signed(b"alarm 7");
        assert_eq!(one.opened(&signed), Some(&b"alarm 7"[..]));
        assert_eq!(other.opened(&signed), None);
        assert_eq!(ResumeKey::default().opened(&signed), None);
        for at in 0..signed.len() {
            let mut forged = signed.clone();
            forged[at] ^= 1;
            assert_eq!(one.opened(&forged), None, "byte {at}");
            assert_eq!(one.opened(&signed[..at]), None, "{at} bytes");
        }
    }

    #[test]
    fn a_secret_is_read_without_the_end_of_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        assert_eq!(ResumeKey::read("resume_key_file", &path).unwrap().0, b"0123456789abcdef");
        std::fs::write(&path, "0123456789abcde\n").unwrap();
        let error = ResumeKey::read("resume_key_file", &path).unwrap_err().to_string();
        let expected = format!(
            "resume_key_file is {}: it has 15 bytes; at least 16 are expected",
            path.display()
        );
        assert_eq!(error, expected);
    }
}
