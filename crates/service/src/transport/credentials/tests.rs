//! What a token opens, how files rotate, and what errors may say of them.

use std::path::Path;

use tonic::Code;
use tonic::Status;

use super::files::TlsFiles;
use super::*;

const SCORE: &str = "/protoguard.v1.ScoringService/ScoreClip";
const RELOAD: &str = ADMIN_METHODS[0];

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

struct Ask<'a> {
    method: &'a str,
    address: &'a str,
    authorization: Option<&'a str>,
}

fn code(credentials: &Credentials, ask: &Ask<'_>) -> Code {
    let mut headers = HeaderMap::new();
    if let Some(text) = ask.authorization {
        headers.insert(AUTHORIZATION, text.parse().unwrap());
    }
    let address = Some(ask.address.parse().unwrap());
    let checked = credentials.check(&Caller { method: ask.method, address, headers: &headers });
    checked.map_or_else(|error| Status::from(error).code(), |()| Code::Ok)
}

fn codes(credentials: &Credentials, method: &str) -> [Code; 4] {
    [None, Some("Bearer wrong"), Some("Bearer user-token"), Some("bearer admin-token")]
        .map(|authorization| code(credentials, &Ask { method, address: "10.0.0.7", authorization }))
}

fn open(tokens: Option<&Path>, admin_tokens: Option<&Path>) -> Credentials {
    let owned = |path: Option<&Path>| path.map(Path::to_owned);
    let files = CredentialFiles {
        tokens: owned(tokens),
        admin_tokens: owned(admin_tokens),
        ..Default::default()
    };
    Credentials::open(&files).unwrap()
}

#[test]
fn what_a_token_opens() {
    use Code::{Ok as Fine, PermissionDenied as Denied, Unauthenticated as Who};
    let folder = Folder::new();
    let tokens = folder.write("tokens", "# of the hall\n\n  user-token  \nother\n");
    let admins = folder.write("admins", "admin-token\n");
    let cases = [
        (open(None, None), [Fine, Fine, Fine, Fine], [Denied, Denied, Denied, Denied]),
        (open(Some(&tokens), None), [Who, Who, Fine, Who], [Who, Who, Denied, Who]),
        (open(None, Some(&admins)), [Fine, Fine, Fine, Fine], [Who, Who, Who, Fine]),
        (open(Some(&tokens), Some(&admins)), [Who, Who, Fine, Fine], [Who, Who, Denied, Fine]),
    ];
    for (index, (credentials, score, reload)) in cases.iter().enumerate() {
        assert_eq!(codes(credentials, SCORE), *score, "case {index}");
        assert_eq!(codes(credentials, RELOAD), *reload, "case {index}");
        assert_eq!(codes(credentials, "/grpc.health.v1.Health/Check"), [Fine; 4]);
    }
}

#[test]
fn without_an_admin_token_the_loopback_administers() {
    let folder = Folder::new();
    let nobody = open(None, None);
    let ask = |credentials: &Credentials, address, authorization| {
        code(credentials, &Ask { method: RELOAD, address, authorization })
    };
    for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(ask(&nobody, address, None), Code::Ok);
    }
    let tokens = folder.write("tokens", "user-token");
    let known = open(Some(&tokens), None);
    assert_eq!(ask(&known, "127.0.0.1", None), Code::Unauthenticated);
    assert_eq!(ask(&known, "127.0.0.1", Some("Bearer user-token")), Code::Ok);
}

#[test]
fn a_token_rotates_and_a_broken_file_locks_nobody_out() {
    let folder = Folder::new();
    let tokens = folder.write("tokens", "user-token");
    let credentials = open(Some(&tokens), None);
    let fine = |token: &str| {
        let authorization = Some(token);
        code(&credentials, &Ask { method: SCORE, address: "10.0.0.7", authorization }) == Code::Ok
    };
    folder.write("tokens", "user-token\nnext-token");
    assert!(!fine("Bearer next-token"));
    credentials.refresh();
    assert!(fine("Bearer user-token") && fine("Bearer next-token"));
    for broken in ["", "# nothing but a remark\n"] {
        folder.write("tokens", broken);
        credentials.refresh();
        assert!(fine("Bearer next-token"));
    }
    std::fs::remove_file(&tokens).unwrap();
    credentials.refresh();
    assert!(fine("Bearer next-token"));
    folder.write("tokens", "third-token");
    credentials.refresh();
    assert!(fine("Bearer third-token") && !fine("Bearer next-token"));
}

#[test]
fn what_cannot_be_used_is_named_without_its_content() {
    let folder = Folder::new();
    let message = |files: &CredentialFiles| Credentials::open(files).err().unwrap().to_string();
    let with = |tokens| CredentialFiles { tokens: Some(tokens), ..CredentialFiles::default() };
    let absent = message(&with(folder.0.path().join("absent")));
    assert!(absent.starts_with("token_file is") && absent.contains("absent"), "{absent}");
    let spaced = message(&with(folder.write("spaced", "secret with spaces")));
    assert!(spaced.contains("line 1") && !spaced.contains("secret"), "{spaced}");
    let certificate = folder.write("certificate", "no certificate");
    let key = folder.write("key", "no key");
    let tls = Some(TlsFiles { certificate, key, client_ca: None });
    let none = message(&CredentialFiles { tls, ..CredentialFiles::default() });
    assert!(none.starts_with("tls_certificate is") && none.contains("certificate"), "{none}");
}

#[test]
fn no_token_is_printed() {
    let folder = Folder::new();
    let tokens = folder.write("tokens", "user-token");
    let tokens = Tokens::read("token_file", &tokens).unwrap();
    assert!(!format!("{tokens:?}").contains("user-token"));
}
