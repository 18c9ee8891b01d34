//! Deadlines that pass and callers that hang up, at every step.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use protoguard_proto::v1::scoring_service_client::ScoringServiceClient;
use protoguard_service::testing::FakeFactory;
use protoguard_service::{BatchPolicy, ServiceConfig};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::bench::{Gate, Served, bounded, clip, config, not_a_number};
use crate::telemetry::until;
use crate::wire::{Call, Wire};

type Client = ScoringServiceClient<Channel>;

const CANCELLED: &str = "protoguard_requests_total\
                         {method=\"protoguard.v1.ScoringService/ScoreClip\",code=\"CANCELLED\"}";

#[tokio::test]
async fn a_deadline_that_passes_in_the_queue_is_noticed_and_costs_no_compute() {
    let (factory, mut gate) = Gate::before(FakeFactory::new("hall"));
    let served = Served::ready(factory, config()).await;
    let mut first = served.scoring().await;
    let first = tokio::spawn(async move { first.score_clip(clip(1)).await });
    assert_eq!(gate.entered().await, [1]);

    let mut request = Request::new(clip(2));
    request.metadata_mut().insert("grpc-timeout", "50m".parse().unwrap());
    let late = bounded(served.plain().score_clip(request)).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert_eq!(late.get_details_error_info().unwrap().reason, "DEADLINE_EXCEEDED");

    gate.release();
    assert!(bounded(first).await.unwrap().is_ok());
    // The next batch is the next clip: the late one was dropped.
    let mut next = served.scoring().await;
    let next = tokio::spawn(async move { next.score_clip(clip(3)).await });
    assert_eq!(gate.entered().await, [3]);
    gate.release();
    assert!(bounded(next).await.unwrap().is_ok());
    served.stop().await;
}

#[tokio::test]
async fn a_deadline_that_passes_during_compute_is_noticed() {
    let (factory, mut gate) = Gate::before(FakeFactory::new("hall"));
    let served = Served::ready(factory, config()).await;
    let mut request = Request::new(clip(1));
    request.metadata_mut().insert("grpc-timeout", "1S".parse().unwrap());
    let mut client = served.plain();
    let late = tokio::spawn(async move { client.score_clip(request).await });
    assert_eq!(gate.entered().await, [1]);
    assert_eq!(bounded(late).await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    gate.release();
    served.stop().await;
}

#[tokio::test]
async fn a_deadline_that_has_passed_already_costs_nothing() {
    let (factory, _gate) = Gate::before(FakeFactory::new("hall"));
    let served = Served::ready(factory, config()).await;
    for patience in ["1n", "0S"] {
        let mut request = Request::new(clip(1));
        request.metadata_mut().insert("grpc-timeout", patience.parse().unwrap());
        let late = bounded(served.plain().score_clip(request)).await.unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded, "{patience}: {late}");
    }
    assert_eq!(served.metric(r#"protoguard_clips_total{model="hall"}"#), 0.0);
    assert_eq!(served.metric(r#"protoguard_in_flight_clips{model="hall"}"#), 0.0);
    served.stop().await;
}

#[tokio::test]
async fn a_caller_that_hangs_up_during_compute_harms_nobody() {
    let (factory, mut gate) = Gate::before(FakeFactory::new("hall"));
    let served = Served::ready(factory, config()).await;
    let client = served.scoring().await;
    let score = |value| {
        let mut client = client.clone();
        tokio::spawn(async move { client.score_clip(clip(value)).await })
    };
    let hanging = score(1);
    assert_eq!(gate.entered().await, [1]);
    hanging.abort();
    until(|| served.metric(CANCELLED) == 1.0).await;
    gate.release();
    let next = score(2);
    assert_eq!(gate.entered().await, [2]);
    gate.release();
    assert!(bounded(next).await.unwrap().is_ok());
    until(|| served.metric(r#"protoguard_in_flight_clips{model="hall"}"#) == 0.0).await;
    served.stop().await;
}

/// Callers that go away while their clips are decoded: every clip has exactly one end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_hang_up_at_any_moment_leave_nothing_behind() {
    const CALLS: usize = 200;
    let served = Served::ready(FakeFactory::new("hall"), config()).await;
    let client = served.scoring().await;
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..CALLS {
        let mut client = client.clone();
        let call = tokio::spawn(async move { client.score_clip(clip(1)).await });
        for _ in 0..random.usize(..60) {
            tokio::task::yield_now().await;
        }
        call.abort();
        let _ = call.await;
    }
    // A call that was given up may still be on its way, and comes and goes after the others.
    let left = ["in_flight_clips", "queue_clips", "queue_bytes"]
        .map(|gauge| format!(r#"protoguard_{gauge}{{model="hall"}}"#));
    until(|| left.iter().all(|gauge| served.metric(gauge) == 0.0)).await;
    assert!(bounded(client.clone().score_clip(clip(1))).await.is_ok());
    served.stop().await;
}

#[tokio::test]
async fn a_caller_that_hangs_up_in_the_queue_costs_no_compute() {
    let mut limits = config();
    limits.admission.max_clips = 2;
    let (factory, mut gate) = Gate::before(FakeFactory::new("hall"));
    let served = Served::ready(factory, limits).await;
    let client = served.scoring().await;
    let score = |value| tokio::spawn(score_once_admitted(client.clone(), value));
    let computing = score(1);
    assert_eq!(gate.entered().await, [1]);
    let hanging = score(2);
    wait_until_full(&client).await;
    hanging.abort();
    assert!(hanging.await.unwrap_err().is_cancelled());
    gate.release();
    assert!(bounded(computing).await.unwrap().is_ok());
    let next = score(3);
    // Not [2], nor [2, 3].
    assert_eq!(gate.entered().await, [3]);
    gate.release();
    assert!(bounded(next).await.unwrap().is_ok());
    served.stop().await;
}

async fn score_once_admitted(mut client: Client, value: u8) -> Result<(), Status> {
    loop {
        match client.score_clip(clip(value)).await {
            // A probe held the last place for a moment.
            Err(status) if status.code() == Code::ResourceExhausted => {}
            other => return other.map(|_| ()),
        }
    }
}

/// Until the queue refuses a clip. A probe that is admitted is refused in decoding and leaves
/// nothing behind.
async fn wait_until_full(client: &Client) {
    let mut client = client.clone();
    let full = async {
        loop {
            let refused = client.score_clip(not_a_number()).await.unwrap_err();
            if refused.code() == Code::ResourceExhausted {
                return;
            }
            assert_eq!(refused.code(), Code::InvalidArgument);
        }
    };
    bounded(full).await;
}

/// Under overload the head of the queue is always close to its deadline. What is computed must
/// still be in time, or every pass would serve callers that have just left.
#[tokio::test(flavor = "multi_thread")]
async fn overload_costs_no_compute_for_those_who_have_left() {
    let computed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&computed);
    let factory = FakeFactory::new("hall").on_score(move |batch| {
        std::thread::sleep(Duration::from_millis(20));
        count.fetch_add(batch.len(), Ordering::SeqCst);
        Ok(())
    });
    let batch = BatchPolicy { max_batch_size: 4 };
    let served = Served::ready(factory, ServiceConfig { batch, ..config() }).await;
    // Two hundred clips a second can be computed, and twice as many come.
    let mut pace = tokio::time::interval(Duration::from_micros(2500));
    let mut calls = JoinSet::new();
    for value in 0..600u32 {
        pace.tick().await;
        let mut request = Request::new(clip(value as u8));
        request.metadata_mut().insert("grpc-timeout", "150m".parse().unwrap());
        let mut client = served.plain();
        calls.spawn(async move { client.score_clip(request).await.map(|_| ()) });
    }
    let answers = bounded(calls.join_all()).await;
    let good = answers.iter().filter(|answer| answer.is_ok()).count();
    let late = answers.iter().filter_map(|answer| answer.as_ref().err());
    assert!(late.clone().all(|error| error.code() == Code::DeadlineExceeded), "{answers:?}");
    let computed = computed.load(Ordering::SeqCst);
    assert!(late.count() > 100, "there was no overload: {good} good");
    assert!(10 * good >= 8 * computed, "{computed} clips were computed and {good} were in time");
    served.stop().await;
}

/// A clip that must wait too long behind others is refused while its message has not come yet; a
/// caller whose turn comes sooner is not.
#[tokio::test(flavor = "multi_thread")]
async fn who_would_be_too_late_is_told_before_the_message_is_received() {
    let factory = FakeFactory::new("hall").on_score(|_| {
        std::thread::sleep(Duration::from_millis(50));
        Ok(())
    });
    let batch = BatchPolicy { max_batch_size: 1 };
    let served = Served::ready(factory, ServiceConfig { batch, ..config() }).await;
    let crowd = served.scoring().await;
    let mut calls = JoinSet::new();
    for value in 0..120 {
        let mut client = crowd.clone();
        calls.spawn(async move { client.score_clip(clip(value)).await });
    }
    // A second one is computed, so the pace is known, and most are still waiting.
    for _ in 0..2 {
        assert!(bounded(calls.join_next()).await.unwrap().unwrap().is_ok());
    }

    let soon = |value| {
        let mut request = Request::new(clip(value));
        request.metadata_mut().insert("grpc-timeout", "900m".parse().unwrap());
        request
    };
    let noticed = |status: &Status| {
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        status.get_details_error_info().unwrap().metadata.remove("noticed")
    };
    let at_the_door = Some("before the queue: its wait would end after it");
    let refused = bounded(crowd.clone().score_clip(soon(100))).await.unwrap_err();
    assert_eq!(noticed(&refused).as_deref(), at_the_door);
    assert!(bounded(served.scoring().await.score_clip(soon(101))).await.is_ok());

    let mut wire = Wire::to(&served).await;
    let (sender, status) = wire.begin(Call { timeout: "60m", ..Call::default() });
    assert_eq!(noticed(&bounded(status).await.unwrap()).as_deref(), at_the_door);
    drop(sender);
    calls.shutdown().await;
    served.stop().await;
}
