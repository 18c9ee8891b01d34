//! Children that are shell scripts.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::*;

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn the_peak_of_a_childs_memory_is_seen() {
    let children = Arc::new(Children::default());
    let script = "x = bytearray(b'x') * 64_000_000\nimport time\ntime.sleep(0.3)";
    let mut python = Command::new("python3");
    let finished = children.run(python.args(["-c", script])).unwrap();
    assert!(finished.peak_bytes > 64_000_000, "{}", finished.peak_bytes);
}

#[test]
fn all_who_watch_share_the_children() {
    let first = Children::watch().unwrap();
    let second = Children::watch().unwrap();
    assert!(Arc::ptr_eq(&first, &second));
}

#[test]
fn what_the_whole_command_ignores_is_known() {
    let status = "SigBlk:\t0000000000000003\nSigIgn:\t0000000000001001\n";
    assert_eq!([SIGHUP, SIGINT, 13].map(|signal| ignores(status, signal)), [true, false, true]);
}

#[test]
fn each_line_of_standard_error_is_heard() {
    let children = Arc::new(Children::default());
    let mut heard = Vec::new();
    let script = "echo one >&2; printf two >&2; exit 3";
    let status = children.listen(&mut shell(script), |line| heard.push(line.to_owned()));
    assert_eq!(status.unwrap().code(), Some(3));
    assert_eq!(heard, ["one", "two"]);
}

#[test]
fn who_is_interrupted_ends_what_was_started_and_starts_nothing_more() {
    let children = Arc::new(Children::default());
    let owner = Arc::clone(&children);
    let mut heard = Vec::new();
    let ended = children.listen(&mut shell("sleep 600 & echo up >&2; wait"), |line| {
        heard.push(line.to_owned());
        owner.interrupt();
    });
    assert_eq!(ended.unwrap_err().to_string(), "interrupted");
    assert_eq!(heard, ["up"]);
    assert_eq!(children.spawn(&mut shell("true")).unwrap_err().to_string(), "interrupted");
}

#[test]
fn what_a_program_started_ends_with_it() {
    let children = Arc::new(Children::default());
    let owner = Arc::clone(&children);
    let mut started = Vec::new();
    let ended = children.read(&mut shell("sleep 600 & echo $!; wait"), |line| {
        started.push(line.to_owned());
        owner.interrupt();
        Ok(())
    });
    assert_eq!(ended.unwrap_err().to_string(), "interrupted");
    // The pipe was read to its end, which the grandchild held as well.
    assert_eq!(started.len(), 1);
    let ended = children.status(&mut shell("true"));
    assert_eq!(ended.unwrap_err().to_string(), "interrupted");
}

#[test]
fn a_failure_is_named() {
    let children = Arc::new(Children::default());
    let message = children.run(&mut shell("exit 3")).unwrap_err().to_string();
    assert_eq!(message, "sh failed (exit status: 3)");
    let absent = children.spawn(&mut Command::new("no-such-program")).unwrap_err();
    assert_eq!(absent.to_string(), "no-such-program cannot be started");
}

#[test]
fn a_child_does_not_outlive_its_owner() {
    let children = Arc::new(Children::default());
    let mut running =
        children.spawn(shell("echo up; exec sleep 600").stdout(Stdio::piped())).unwrap();
    let mut line = String::new();
    BufReader::new(running.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid = running.pid;
    drop(running);
    assert!(kill_process(pid, Signal::TERM).is_err(), "the child is gone");
    assert!(children.lock().is_empty());
}

#[test]
fn a_signal_ends_the_wait() {
    let children = Arc::new(Children::default());
    let mut running = children.spawn(&mut shell("exec sleep 600")).unwrap();
    children.signal(Signal::TERM);
    assert!(!running.wait().unwrap().status.success());
}
