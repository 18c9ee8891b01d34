//! The set-up against a package index on loopback, with wheels of a few kilobytes.

use super::*;

mod index;

use index::{Conduct, Index};

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("libtorch/wheels.py")
}

struct Fetched {
    outcome: Result<()>,
    home: tempfile::TempDir,
}

impl Fetched {
    /// Two fetches in a row may share `home`.
    fn from(index: &str, home: tempfile::TempDir) -> Self {
        let (downloads, view) = (home.path().join("downloads"), home.path().join("view"));
        let mut command = python(&script(), &downloads, &view);
        command
            .env("PIP_INDEX_URL", index)
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1");
        Self { outcome: fetch(command), home }
    }

    fn fresh(index: &str) -> Self {
        Self::from(index, tempfile::tempdir().unwrap())
    }

    fn message(&self) -> String {
        self.outcome.as_ref().unwrap_err().to_string()
    }

    fn downloads(&self) -> Vec<String> {
        let entries = fs::read_dir(self.home.path().join("downloads")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().display().to_string()).collect();
        names.sort();
        names
    }
}

#[test]
fn a_broken_download_is_resumed_and_checked() {
    let index = Index::serve(Conduct { break_after: Some(5000), ..Conduct::default() });
    let fetched = Fetched::fresh(&index.url());
    fetched.outcome.unwrap();
    let view = fetched.home.path().join("view");
    view::finish(&view).unwrap();
    assert!(view::is_complete(&view));
    let resumed = index.ranges();
    assert!(resumed.contains(&5000), "no request began where the first ended: {resumed:?}");
    assert!(!view.join("lib/libtorch_cuda.so").exists());
}

#[test]
fn an_older_run_is_resumed() {
    let index = Index::serve(Conduct::default());
    let home = tempfile::tempdir().unwrap();
    let (name, part) = index.half_a_torch();
    fs::create_dir(home.path().join("downloads")).unwrap();
    fs::write(home.path().join("downloads").join(name), &part).unwrap();
    let fetched = Fetched::from(&index.url(), home);
    fetched.outcome.unwrap();
    assert!(index.ranges().contains(&part.len()), "{:?}", index.ranges());
}

#[test]
fn pages_in_html_will_do() {
    let index = Index::serve(Conduct { html: true, ..Conduct::default() });
    Fetched::fresh(&index.url()).outcome.unwrap();
}

#[test]
fn a_wrong_hash_is_refused_and_the_file_removed() {
    let index = Index::serve(Conduct { wrong_hash: true, ..Conduct::default() });
    let fetched = Fetched::fresh(&index.url());
    let message = fetched.message();
    assert!(
        message.contains("has sha256") && message.contains("run the set-up again"),
        "{message}"
    );
    assert!(fetched.downloads().is_empty(), "{:?}", fetched.downloads());
    assert!(!fetched.home.path().join("view").exists());
}

#[test]
fn without_network_the_message_says_what_to_check() {
    // A port that was just given back: nothing listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let message = Fetched::fresh(&format!("http://127.0.0.1:{port}/simple")).message();
    assert!(message.starts_with("no connection to http://127.0.0.1"), "{message}");
    assert!(message.contains("check the network"), "{message}");
    assert_eq!(message.lines().count(), 1);
}

#[test]
fn an_index_without_the_wheel_is_named() {
    let index = Index::serve(Conduct::default());
    let message = Fetched::fresh(&format!("{}/nothing", index.url())).message();
    assert!(message.contains("answered 404"), "{message}");
}

#[test]
fn without_python_the_message_says_so() {
    let mut command = python(&script(), Path::new("a"), Path::new("b"));
    command.env("PATH", "");
    assert!(fetch(command).unwrap_err().to_string().starts_with("python3 is not installed"));
}

#[test]
fn the_cache_is_found_like_any_programs() {
    let (cache, home) = (Some(OsStr::new("/c")), Some(OsStr::new("/h")));
    assert_eq!(folder(cache, home).unwrap(), Path::new("/c/protoguard"));
    assert_eq!(folder(None, home).unwrap(), Path::new("/h/.cache/protoguard"));
    assert_eq!(
        folder(Some(OsStr::new("relative")), home).unwrap(),
        Path::new("/h/.cache/protoguard")
    );
    assert!(folder(None, None).unwrap_err().to_string().contains("XDG_CACHE_HOME"));
}

#[test]
fn a_second_set_up_waits_for_the_first() {
    let home = tempfile::tempdir().unwrap();
    let first = Cache::open_in(home.path().to_owned()).unwrap();
    let lock = File::open(home.path().join("lock")).unwrap();
    assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
    drop(first);
    lock.try_lock().unwrap();
}
