//! Workers that run out of memory, hang or panic, and callers that share them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protoguard_core::ScorerError;
use protoguard_service::ServiceConfig;
use protoguard_service::testing::FakeFactory;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::bench::{Gate, Served, bounded, clip, config, value_of};
use crate::telemetry::until;

#[tokio::test]
async fn want_of_memory_halves_batches_and_is_remembered() {
    const FITS: usize = 2;
    /// Stands between the sizes of batches for the release of memory.
    const RELEASED: usize = 0;
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let (entered, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let (release, go) = std::sync::mpsc::channel::<()>();
    let seen = Arc::clone(&sizes);
    let go = Mutex::new(go);
    let released = Arc::clone(&sizes);
    let factory = FakeFactory::new("hall");
    let factory = factory.on_release(move || released.lock().unwrap().push(RELEASED));
    let factory = factory.on_score(move |batch| {
        if value_of(&batch[0]) == 0 {
            entered.send(()).unwrap();
            go.lock().unwrap().recv().unwrap();
            return Ok(());
        }
        seen.lock().unwrap().push(batch.len());
        match batch.len() {
            ..=FITS => Ok(()),
            _ => Err(ScorerError::OutOfMemory { reason: "2.00 GiB".to_owned() }),
        }
    });
    let served = Served::ready(factory, config()).await;
    let client = served.scoring().await;
    let score = |value| {
        let mut client = client.clone();
        tokio::spawn(async move { client.score_clip(clip(value)).await })
    };
    let halved = vec![8, RELEASED, 4, RELEASED, 2, 2, 2, 2];
    for expected in [halved, vec![2, 2, 2, 2]] {
        let blocking = score(0);
        bounded(begun.recv()).await.unwrap();
        let waiting: Vec<_> = (1..9).map(&score).collect();
        until(|| served.metric(r#"protoguard_queue_clips{model="hall"}"#) == 8.0).await;
        release.send(()).unwrap();
        assert!(bounded(blocking).await.unwrap().is_ok());
        for answer in waiting {
            assert!(bounded(answer).await.unwrap().is_ok());
        }
        assert_eq!(std::mem::take(&mut *sizes.lock().unwrap()), expected);
    }
    assert_eq!(served.metric(r#"protoguard_oom_splits_total{model="hall"}"#), 2.0);
    served.stop().await;
}

#[tokio::test]
async fn a_forward_that_hangs_is_named_and_health_says_so_until_it_ends() {
    let watchdog = Some(Duration::from_millis(100));
    let (factory, mut gate) = Gate::before(FakeFactory::new("hall"));
    let served = Served::ready(factory, ServiceConfig { watchdog, ..config() }).await;
    let health = async |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        served.health().await.check(request).await.unwrap().into_inner().status()
    };
    const NAMES: [&str; 4] = ["", "protoguard.v1.ScoringService", "liveness", "readiness"];
    for name in NAMES {
        assert_eq!(health(name).await, ServingStatus::Serving, "{name}");
    }
    let mut client = served.scoring().await;
    let hanging = tokio::spawn(async move { client.score_clip(clip(1)).await });
    assert_eq!(gate.entered().await, [1]);
    let mut probed = served.probe("/healthz").await;
    while probed.code == 200 {
        probed = served.probe("/healthz").await;
    }
    assert_eq!(probed.text, "serving\n1 forward passes hang\n");
    for name in NAMES {
        assert_eq!(health(name).await, ServingStatus::NotServing, "{name}");
    }
    gate.release();
    assert!(bounded(hanging).await.unwrap().is_ok());
    while served.probe("/healthz").await.code != 200 {}
    for name in NAMES {
        assert_eq!(health(name).await, ServingStatus::Serving, "{name}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_worker_whose_replica_cannot_be_rebuilt_is_restarted() {
    let builds = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&builds);
    let factory = FakeFactory::new("hall")
        .on_build(move || match counter.fetch_add(1, Ordering::SeqCst) {
            // The one after the panic.
            1 => Err(ScorerError::Load { reason: "busy".to_owned() }),
            _ => Ok(()),
        })
        .on_score(|batch| {
            assert!(value_of(&batch[0]) != 13 || batch.len() > 1, "poisoned");
            Ok(())
        });
    let served = Served::ready(factory, config()).await;
    let mut client = served.scoring().await;
    // The clip is kept for the restarted worker, which fails on it in turn.
    let poisoned = bounded(client.score_clip(clip(13))).await.unwrap_err();
    assert_eq!(poisoned.code(), Code::Internal, "{poisoned}");
    assert!(bounded(client.score_clip(clip(1))).await.is_ok());
    assert_eq!(served.metric(r#"protoguard_workers_alive{model="hall"}"#), 1.0);
    assert_eq!(builds.load(Ordering::SeqCst), 4);
    served.stop().await;
}

#[tokio::test]
async fn a_clip_that_cannot_be_ready_in_time_is_refused_before_compute() {
    let pass = Duration::from_millis(80);
    let passes = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&passes);
    let factory = FakeFactory::new("hall").on_score(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        // The model is this slow.
        std::thread::sleep(pass);
        Ok(())
    });
    let served = Served::ready(factory, config()).await;
    let mut client = served.plain();
    assert!(bounded(client.score_clip(clip(1))).await.is_ok());
    let mut request = Request::new(clip(2));
    // Enough to be decoded and not enough for the pass.
    request.metadata_mut().insert("grpc-timeout", "60m".parse().unwrap());
    let late = bounded(client.score_clip(request)).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late}");
    assert!(bounded(client.score_clip(clip(3))).await.is_ok());
    assert_eq!(passes.load(Ordering::SeqCst), 2);
    assert_eq!(served.metric(r#"protoguard_clips_expired_total{model="hall"}"#), 1.0);
    served.stop().await;
}

#[tokio::test]
async fn a_caller_with_many_clips_makes_nobody_wait_for_all_of_them() {
    let mut limits = config();
    limits.batch.max_batch_size = 1;
    let (factory, mut gate) = Gate::before(FakeFactory::new("hall"));
    let served = Served::ready(factory, limits).await;
    let greedy = served.scoring().await;
    let mut modest = served.scoring().await;
    let score = |value| {
        let mut client = greedy.clone();
        tokio::spawn(async move { client.score_clip(clip(value)).await })
    };
    let many: Vec<_> = (1..21).map(score).collect();
    gate.entered().await;
    // All but the one in the worker's hands wait, none is still being decoded.
    until(|| served.metric(r#"protoguard_queue_clips{model="hall"}"#) == 19.0).await;
    let one = tokio::spawn(async move { modest.score_clip(clip(100)).await });
    until(|| served.metric(r#"protoguard_queue_clips{model="hall"}"#) == 20.0).await;
    let mut order = Vec::new();
    for _ in 0..20 {
        gate.release();
        order.extend(gate.entered().await);
    }
    gate.release();
    // One lay with the worker already, and one of the greedy caller's may take its turn first.
    let place = order.iter().position(|&value| value == 100).unwrap();
    assert!(place <= 2, "{order:?}");
    assert!(bounded(one).await.unwrap().is_ok());
    for answer in many {
        assert!(bounded(answer).await.unwrap().is_ok());
    }
    served.stop().await;
}
