//! A server that is told to stop loses nothing.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::clips::encoded;
use crate::server::Server;
use crate::trained::trained;

const CALLERS: usize = 8;
/// Answers before the signal: every caller is in the middle of its work.
const ANSWERS: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_lost_when_the_server_stops_under_load() {
    let trained = trained().await;
    let server = Server::start(&trained.checkpoint).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let loaded = Arc::new(Notify::new());
    let mut callers: JoinSet<Status> = JoinSet::new();
    for caller in 0..CALLERS {
        let mut client = server.scoring().await;
        let request = encoded(trained, caller);
        let (answered, loaded) = (Arc::clone(&answered), Arc::clone(&loaded));
        callers.spawn(async move {
            loop {
                match client.score_clip(request.clone()).await {
                    Ok(response) => assert!(response.into_inner().psnr_db.is_some()),
                    Err(status) => return status,
                }
                if answered.fetch_add(1, Ordering::Relaxed) + 1 == ANSWERS {
                    loaded.notify_one();
                }
            }
        });
    }
    loaded.notified().await;
    server.signal("TERM").await;
    // Whoever is not answered is told to ask elsewhere, or the server never took the request: then
    // the client's own library says that it was canceled or met a GOAWAY.
    for refused in callers.join_all().await {
        assert!(refused.code() == Code::Unavailable || never_taken(&refused), "{refused:?}");
    }
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
}

/// Whether hyper gave the request up before a byte of it left, or the server's GOAWAY, which is
/// none of an error, came before it.
fn never_taken(status: &Status) -> bool {
    let peaceful = |error: &h2::Error| {
        error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
    };
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
            || error.downcast_ref::<h2::Error>().is_some_and(peaceful)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

#[tokio::test]
async fn an_idle_server_stops_at_either_signal() {
    let trained = trained().await;
    for signal in ["INT", "TERM"] {
        let server = Server::start(&trained.checkpoint).await;
        server.signal(signal).await;
        let (status, log) = server.ended().await;
        assert_eq!(status.code(), Some(0), "{signal}: {log}");
    }
}
