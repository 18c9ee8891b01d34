//! A server that is told to stop before it has begun.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use tokio::process::Command;

use crate::programs::program;
use crate::trained::trained;

/// A worker is inside libtorch then: nobody waits for it, and nothing crashes under it.
#[tokio::test]
async fn a_server_that_is_still_loading_stops_cleanly() {
    let trained = trained().await;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut server = program("protoguard-server");
    // Warming up at such batches takes a while.
    server.arg("--model").arg(&trained.checkpoint).args(["--listen", &address]);
    let mut server = server.args(["--max-batch-size", "1024"]).spawn().unwrap();
    while TcpStream::connect(&address).is_err() {
        assert_eq!(server.try_wait().unwrap(), None, "it ended before it listened");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let id = server.id().unwrap().to_string();
    let sent = Command::new("kill").args(["-s", "TERM", &id]).status().await.unwrap();
    assert!(sent.success());
    let ended = tokio::time::timeout(Duration::from_secs(30), server.wait()).await;
    assert_eq!(ended.expect("it waits for its warm-up").unwrap().code(), Some(0));
}
