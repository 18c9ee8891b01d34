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

/// Signs with HMAC-SHA-256 by the first key, and knows what any of them signed. Without keys, as
/// every server is by default, that guards against damage and not against forgery.
#[derive(Default)]
pub(crate) struct ResumeKey(Vec<Vec<u8>>);

impl fmt::Debug for ResumeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResumeKey({})", self.0.len())
    }
}

impl ResumeKey {
    /// Reads a file with one secret a line: the first signs, and the others are known for as long
    /// as servers exchange them.
    ///
    /// # Errors
    /// When it cannot be read, or a line is too short to be a secret.
    pub(super) fn read(key: &'static str, path: &Path) -> Result<Self, CredentialError> {
        let wrong = |reason: String| CredentialError { key, path: path.to_owned(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let mut keys = Vec::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            match line.len() {
                0 => {}
                found if found < LEAST => {
                    let reason = format!("has {found} bytes; at least {LEAST} are expected");
                    return Err(wrong(format!("line {number} {reason}")));
                }
                _ => keys.push(line.as_bytes().to_vec()),
            }
        }
        if keys.is_empty() {
            return Err(wrong(format!("it has no line of at least {LEAST} bytes")));
        }
        Ok(Self(keys))
    }

    /// The bytes behind their signature.
    pub(crate) fn signed(&self, content: &[u8]) -> Vec<u8> {
        let first = self.0.first().map_or(&[][..], Vec::as_slice);
        let mut signed = mac(first, content).finalize().into_bytes().to_vec();
        signed.extend_from_slice(content);
        signed
    }

    /// What was signed; nothing where the signature is of none of the keys.
    pub(crate) fn opened<'a>(&self, signed: &'a [u8]) -> Option<&'a [u8]> {
        let (signature, content) = signed.split_at_checked(SIGNATURE)?;
        let is_of = |key: &[u8]| mac(key, content).verify_slice(signature).is_ok();
        let known =
            if self.0.is_empty() { is_of(&[]) } else { self.0.iter().any(|key| is_of(key)) };
        known.then_some(content)
    }
}

fn mac(key: &[u8], content: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of HMAC may have any length");
    mac.update(content);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_opened_by_the_same_key_alone() {
        let [one, other] =
            ["0123456789abcdef", "fedcba9876543210"].map(|secret| ResumeKey(vec![secret.into()]));
        let signed = one.signed(b"alarm 7");
        assert_eq!(one.opened(&signed), Some(&b"alarm 7"[..]));
        assert_eq!(other.opened(&signed), None);
        assert_eq!(ResumeKey::default().opened(&signed), None);
        // Until every server has the new one, each knows what the others sign.
        let rotating = ResumeKey([&other.0[..], &one.0].concat());
        assert_eq!(rotating.opened(&signed), Some(&b"alarm 7"[..]));
        assert_eq!(other.opened(&rotating.signed(b"8")), Some(&b"8"[..]));
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
        assert_eq!(ResumeKey::read("resume_key_file", &path).unwrap().0, [b"0123456789abcdef"]);
        std::fs::write(&path, "0123456789abcde\n").unwrap();
        let error = ResumeKey::read("resume_key_file", &path).unwrap_err().to_string();
        let expected = format!(
            "resume_key_file is {}: line 1 has 15 bytes; at least 16 are expected",
            path.display()
        );
        assert_eq!(error, expected);
    }
}
