//! Starting, draining and stopping.

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use protoguard_service::testing::FakeFactory;
use protoguard_service::{DrainConfig, ServiceConfig};
use tokio::net::TcpStream;
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_types::StatusExt;

use crate::bench::{Gate, Served, bounded, clip, config};

fn asking(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn next_status(watch: &mut tonic::Streaming<HealthCheckResponse>) -> Option<ServingStatus> {
    bounded(watch.next()).await.map(|status| status.unwrap().status())
}

#[tokio::test]
async fn health_tells_of_loading_serving_and_draining() {
    let (build, go) = std::sync::mpsc::channel::<()>();
    let go = Mutex::new(go);
    let factory = FakeFactory::new("hall").on_build(move || {
        go.lock().unwrap().recv().unwrap();
        Ok(())
    });
    let mut served = Served::start(vec![factory.spec(1)], config()).await;
    let mut health = served.health().await;
    let mut watches = Vec::new();
    for service in ["", "protoguard.v1.ScoringService"] {
        let mut watch = health.watch(asking(service)).await.unwrap().into_inner();
        assert_eq!(next_status(&mut watch).await, Some(ServingStatus::NotServing));
        watches.push(watch);
    }
    let early = served.scoring().await.score_clip(clip(1)).await.unwrap_err();
    assert_eq!(early.code(), Code::Unavailable);
    assert_eq!(early.get_details_error_info().unwrap().reason, "LOADING");
    assert!(early.get_details_retry_info().unwrap().retry_delay.is_some());

    build.send(()).unwrap();
    for watch in &mut watches {
        assert_eq!(next_status(watch).await, Some(ServingStatus::Serving));
    }
    assert!(bounded(&mut served.ready).await.unwrap());
    assert!(served.scoring().await.score_clip(clip(1)).await.is_ok());

    served.shutdown.cancel();
    for watch in &mut watches {
        assert_eq!(next_status(watch).await, Some(ServingStatus::NotServing));
        // A Watch does not hold the drain up.
        assert_eq!(next_status(watch).await, None);
    }
    bounded(served.ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_closes_the_port() {
    let (factory, mut gate) = Gate::before(FakeFactory::new("hall"));
    let served = Served::ready(factory, config()).await;
    let client = served.scoring().await;
    let score = |value| {
        let mut client = client.clone();
        tokio::spawn(async move { client.score_clip(clip(value)).await })
    };
    let computing = score(1);
    assert_eq!(gate.entered().await, [1]);
    let mut watch = served.health().await.watch(asking("")).await.unwrap().into_inner();
    assert_eq!(next_status(&mut watch).await, Some(ServingStatus::Serving));
    served.shutdown.cancel();
    assert_eq!(next_status(&mut watch).await, Some(ServingStatus::NotServing));
    assert_eq!(next_status(&mut watch).await, None);
    let address = served.address.trim_start_matches("http://").to_owned();
    let closed = async {
        while TcpStream::connect(&address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    bounded(closed).await;
    assert!(!served.ended.is_finished());
    gate.release();
    assert!(bounded(computing).await.unwrap().is_ok());
    bounded(served.ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn during_the_grace_the_service_still_answers() {
    let drain = DrainConfig { grace: Duration::from_secs(2), timeout: Duration::from_secs(5) };
    let served = Served::ready(FakeFactory::new("hall"), ServiceConfig { drain, ..config() }).await;
    let mut client = served.scoring().await;
    let mut watch = served.health().await.watch(asking("")).await.unwrap().into_inner();
    assert_eq!(next_status(&mut watch).await, Some(ServingStatus::Serving));
    served.shutdown.cancel();
    assert_eq!(next_status(&mut watch).await, Some(ServingStatus::NotServing));
    assert!(bounded(client.score_clip(clip(1))).await.is_ok());
    bounded(served.ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_ends_although_a_forward_pass_does_not() {
    let drain = DrainConfig { grace: Duration::ZERO, timeout: Duration::from_millis(200) };
    let mut limits = ServiceConfig { drain, ..config() };
    limits.batch.max_batch_size = 1;
    let (factory, mut gate) = Gate::before(FakeFactory::new("hall"));
    let served = Served::ready(factory, limits).await;
    let client = served.scoring().await;
    let score = |value| {
        let mut client = client.clone();
        tokio::spawn(async move { client.score_clip(clip(value)).await })
    };
    let stuck = score(1);
    assert_eq!(gate.entered().await, [1]);
    served.shutdown.cancel();
    bounded(served.ended).await.unwrap().unwrap();
    assert!(bounded(stuck).await.unwrap().is_err());
    gate.release();
}

/// E8 in small: whoever is not answered is told to ask elsewhere, or never got its request out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_at_any_moment_under_load_loses_no_call() {
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..12 {
        let served = Served::ready(FakeFactory::new("hall"), config()).await;
        let mut callers = tokio::task::JoinSet::new();
        for caller in 0..4 {
            let mut client = served.scoring().await;
            callers.spawn(async move {
                loop {
                    if let Err(status) = client.score_clip(clip(caller)).await {
                        return status;
                    }
                }
            });
        }
        tokio::time::sleep(Duration::from_micros(random.u64(..40_000))).await;
        served.shutdown.cancel();
        for refused in bounded(callers.join_all()).await {
            let good = is_draining(&refused) || never_processed(&refused);
            assert!(good, "{round}: {refused:?}");
        }
        bounded(served.ended).await.unwrap().unwrap();
    }
}

/// Whether the service itself said that it stops.
fn is_draining(status: &tonic::Status) -> bool {
    let reason = status.get_details_error_info().map(|info| info.reason);
    status.code() == Code::Unavailable && reason.as_deref() == Some("DRAINING")
}

/// Whether the request was not processed: hyper gave it up before a byte of it left, its stream lay
/// behind the GOAWAY, which HTTP/2 lets a caller send again, or a new connection was refused. One
/// that was reset may have had an answer.
fn never_processed(status: &tonic::Status) -> bool {
    let peaceful = |error: &h2::Error| {
        error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
    };
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
            || error.downcast_ref::<h2::Error>().is_some_and(peaceful)
            || error.downcast_ref::<io::Error>().is_some_and(refused)
        {
            return true;
        }
        cause = error.source();
    }
    false
}
