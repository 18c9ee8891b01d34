//! A set-up that is told to stop while pip waits for the package index.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// The numbers of the programs that a process's first thread has started and not yet seen the end of.
fn children(pid: Pid) -> Vec<String> {
    let pid = pid.as_raw_nonzero();
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    listed.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn pip_ends_before_the_set_up_that_started_it() {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // An index that takes a question and never answers.
    let index = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut setup = Command::new(env!("CARGO_BIN_EXE_xtask"));
    setup.arg("setup").arg("--dest").arg(home.path().join("libtorch"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PIP_")) {
        setup.env_remove(name);
    }
    setup.env("XDG_CACHE_HOME", home.path()).env("PIP_CONFIG_FILE", "/dev/null");
    setup.env("PIP_INDEX_URL", format!("http://{}/simple", index.local_addr().unwrap()));
    setup.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    let setup = setup.stderr(Stdio::piped()).spawn().unwrap();
    let (question, _) = index.accept().unwrap();
    let mut line = String::new();
    BufReader::new(&question).read_line(&mut line).unwrap();
    assert!(line.starts_with("GET /simple/"), "{line}");
    let pid = Pid::from_child(&setup);
    let started = children(pid);
    assert_eq!(started.len(), 1, "pip alone: {started:?}");
    kill_process(pid, Signal::TERM).unwrap();
    let ended = setup.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.ends_with("error: interrupted\n"), "{said}");
    assert!(!Path::new("/proc").join(&started[0]).exists(), "pip is gone");
}
