//! Clips, replicas and devices that fail, and configurations that contradict their models.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use protoguard_core::ScorerError;
use protoguard_service::testing::{FakeFactory, detector};
use protoguard_service::{ModelError, ServeError, ServiceConfig};
use tokio::net::TcpListener;
use tonic::Code;
use tonic_types::StatusExt;

use crate::bench::{Served, bounded, clip, config, value_of};

/// The clip that no batch with it survives.
const POISON: u8 = 13;

#[tokio::test]
async fn a_poisoned_clip_fails_alone() {
    let batches = AtomicUsize::new(0);
    let (entered, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let (release, go) = std::sync::mpsc::channel::<()>();
    let go = std::sync::Mutex::new(go);
    let factory = FakeFactory::new("hall").on_score(move |batch| {
        if batches.fetch_add(1, Ordering::SeqCst) == 0 {
            entered.send(()).unwrap();
            go.lock().unwrap().recv().unwrap();
        }
        if batch.iter().any(|input| value_of(input) == POISON) {
            return Err(ScorerError::Batch { reason: "odd numbers".to_owned() });
        }
        Ok(())
    });
    let served = Served::ready(factory, config()).await;
    let client = served.scoring().await;
    let score = |value| {
        let mut client = client.clone();
        tokio::spawn(async move { client.score_clip(clip(value)).await })
    };
    let blocking = score(0);
    bounded(begun.recv()).await.unwrap();
    let values = [10, 11, 12, POISON, 14, 15];
    let waiting: Vec<_> = values.iter().map(|&value| score(value)).collect();
    release.send(()).unwrap();
    assert!(bounded(blocking).await.unwrap().is_ok());
    for (value, answer) in values.into_iter().zip(waiting) {
        let answer = bounded(answer).await.unwrap();
        if value != POISON {
            assert!(answer.is_ok(), "{value}: {answer:?}");
            continue;
        }
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.get_details_error_info().unwrap().reason, "CLIP_NOT_COMPUTED");
        assert!(status.message().contains("odd numbers"), "{status}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_panicking_scorer_is_replaced() {
    let built = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&built);
    let factory = FakeFactory::new("hall")
        .on_build(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
        .on_score(|batch| {
            assert!(batch.iter().all(|input| value_of(input) != POISON), "poisoned");
            Ok(())
        });
    let served = Served::ready(factory, config()).await;
    let mut client = served.scoring().await;
    let status = bounded(client.score_clip(clip(POISON))).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("scorer panicked: poisoned"), "{status}");
    assert!(bounded(client.score_clip(clip(1))).await.is_ok());
    assert_eq!(built.load(Ordering::SeqCst), 2);
    served.stop().await;
}

#[tokio::test]
async fn a_lost_device_ends_the_service_with_an_error() {
    let factory = FakeFactory::new("hall")
        .on_score(|_| Err(ScorerError::DeviceLost { reason: "fell off the bus".to_owned() }));
    let served = Served::ready(factory, config()).await;
    let mut client = served.scoring().await;
    let status = bounded(client.score_clip(clip(1))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let error = bounded(served.ended).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "model `hall` is lost: device is lost: fell off the bus");
}

#[tokio::test]
async fn a_replica_that_cannot_be_built_ends_the_service() {
    let factory = FakeFactory::new("hall")
        .on_build(|| Err(ScorerError::Load { reason: "no such device".to_owned() }));
    let mut served = Served::start(vec![factory.spec(2)], config()).await;
    let error = bounded(&mut served.ended).await.unwrap().unwrap_err();
    assert!(matches!(error, ServeError::Model(ModelError::Lost { .. })), "{error}");
    assert!(!bounded(&mut served.ready).await.unwrap());
}

#[tokio::test]
async fn a_rate_without_a_threshold_is_refused_and_a_detector_has_one_for_every_rate() {
    let start = async |factory: FakeFactory| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = ServiceConfig { false_alarm_rate: 0.02, ..config() };
        let stop = std::future::ready(());
        bounded(protoguard_service::run(listener, vec![factory.spec(1)], config, stop)).await
    };
    let refused = start(FakeFactory::new("hall")).await.unwrap_err().to_string();
    let expected = "false_alarm_rate is 0.02; model `hall` has thresholds for 0.01 or 0.05 in its \
                    calibration default, which has no detector";
    assert_eq!(refused, expected);
    let whole = FakeFactory::new("hall").with_card(|card| {
        card.calibrations.iter_mut().for_each(|of| of.detector = Some(detector()));
    });
    start(whole).await.unwrap();
}

#[tokio::test]
async fn models_that_contradict_the_configuration_are_refused() {
    let start = async |names: &[&str], default: &str| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let models = names.iter().map(|name| FakeFactory::new(name).spec(1)).collect();
        let config = ServiceConfig::new(default);
        let ended = protoguard_service::run(listener, models, config, std::future::pending());
        bounded(ended).await.unwrap_err().to_string()
    };
    assert_eq!(start(&["hall"], "attic").await, "default_model is `attic`; loaded are hall@fake");
    let twice = start(&["hall", "hall"], "hall").await;
    assert_eq!(twice, "model `hall` is configured twice; names must differ");
}
