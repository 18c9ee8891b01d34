//! Metrics, probes and traces.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protoguard_core::ScorerError;
use protoguard_proto::v1;
use protoguard_service::testing::FakeFactory;
use protoguard_service::{TraceContext, Traces};
use tonic::{Code, Request};
use tracing::Span;

use crate::bench::{Gate, Served, bounded, clip, clip_of, config, not_a_number, value_of};

const SCORE_CLIP: &str = "protoguard.v1.ScoringService/ScoreClip";

fn requests(served: &Served, code: &str) -> f64 {
    let labels = format!(r#"{{method="{SCORE_CLIP}",code="{code}"}}"#);
    served.metric(&format!("protoguard_requests_total{labels}"))
}

#[tokio::test]
async fn every_request_is_counted_by_its_code_and_its_steps_are_timed() {
    let factory = FakeFactory::new("hall").on_score(|batch| {
        if batch.iter().any(|input| value_of(input) == 13) {
            return Err(ScorerError::Batch { reason: "odd".to_owned() });
        }
        Ok(())
    });
    let served = Served::ready(factory, config()).await;
    let mut client = served.scoring().await;
    for value in [1, 2] {
        let scene = "hall".to_owned();
        let request = v1::ScoreClipRequest { scene, ..clip(value) };
        assert!(client.score_clip(request).await.is_ok());
    }
    for refused in [clip_of(1, 3), not_a_number(), clip(13)] {
        assert!(client.score_clip(refused).await.is_err());
    }
    let model = "attic".to_owned();
    let unknown = client.score_clip(v1::ScoreClipRequest { model, ..clip(1) }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    let counted = ["OK", "INVALID_ARGUMENT", "INTERNAL", "NOT_FOUND"].map(|c| requests(&served, c));
    assert_eq!(counted, [2.0, 2.0, 1.0, 1.0]);
    let duration = |stage: &str, outcome: &str| {
        let labels = format!(r#"{{model="hall",outcome="{outcome}"}}"#);
        served.metric(&format!("protoguard_{stage}_duration_seconds_count{labels}"))
    };
    assert_eq!(duration("request", "ok"), 2.0);
    // A wrong count is found once the model is known, and before anything is decoded.
    assert_eq!(duration("request", "invalid_argument"), 2.0);
    assert_eq!((duration("decode", "ok"), duration("decode", "invalid_argument")), (3.0, 1.0));
    assert_eq!((duration("queue", "ok"), duration("compute", "ok")), (2.0, 2.0));
    assert_eq!(duration("compute", "internal"), 1.0);
    let of_hall = |name: &str| served.metric(&format!(r#"protoguard_{name}{{model="hall"}}"#));
    assert_eq!((of_hall("clips_total"), of_hall("batch_size_count")), (2.0, 2.0));
    assert_eq!((of_hall("workers_alive"), of_hall("in_flight_clips")), (1.0, 0.0));
    let regularity = r#"protoguard_regularity_count{model="hall",scene="hall"}"#;
    assert_eq!(served.metric(regularity), 2.0);
    assert!(!served.metrics.page().contains("protoguard_surprise_count"));
    let info = r#"{model="hall",version="fake",precision="f32",device="cpu"}"#;
    assert_eq!(served.metric(&format!("protoguard_model_info{info}")), 1.0);
    served.stop().await;
}

#[tokio::test]
async fn what_waits_and_what_lapses_is_counted_and_nothing_is_lost() {
    let (factory, mut gate) = Gate::before(FakeFactory::new("hall"));
    let served = Served::ready(factory, config()).await;
    let of_hall = |name: &str| served.metric(&format!(r#"protoguard_{name}{{model="hall"}}"#));
    let client = served.scoring().await;
    let score = |value| {
        let mut client = client.clone();
        tokio::spawn(async move { client.score_clip(clip(value)).await })
    };
    let computing = score(1);
    assert_eq!(gate.entered().await, [1]);
    let kept = score(2);
    let cancelled = score(3);
    let mut late = served.plain();
    let mut request = Request::new(clip(4));
    request.metadata_mut().insert("grpc-timeout", "1500m".parse().unwrap());
    let late = tokio::spawn(async move { late.score_clip(request).await });
    until(|| of_hall("queue_clips") == 3.0).await;
    assert_eq!(of_hall("in_flight_clips"), 4.0);
    assert!(of_hall("queue_bytes") >= 3.0 * 1280.0, "{}", of_hall("queue_bytes"));
    cancelled.abort();
    until(|| of_hall("clips_cancelled_total") == 1.0).await;
    assert_eq!(bounded(late).await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    until(|| of_hall("clips_expired_total") == 1.0).await;
    gate.release();
    assert!(bounded(computing).await.unwrap().is_ok());
    assert_eq!(gate.entered().await, [2]);
    gate.release();
    assert!(bounded(kept).await.unwrap().is_ok());
    assert_eq!((of_hall("clips_total"), of_hall("queue_clips")), (2.0, 0.0));
    assert_eq!((of_hall("queue_bytes"), of_hall("in_flight_clips")), (0.0, 0.0));
    let codes = ["OK", "CANCELLED", "DEADLINE_EXCEEDED"].map(|code| requests(&served, code));
    assert_eq!(codes, [2.0, 1.0, 1.0]);
    served.stop().await;
}

/// Until the metrics say so; there is nothing else to wait for.
pub(crate) async fn until(mut reached: impl FnMut() -> bool) {
    let polling = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    bounded(polling).await;
}

#[tokio::test]
async fn probes_tell_of_loading_serving_and_draining() {
    let (build, go) = std::sync::mpsc::channel::<()>();
    let go = Mutex::new(go);
    let (factory, mut gate) = Gate::before(FakeFactory::new("hall").on_build(move || {
        go.lock().unwrap().recv().unwrap();
        Ok(())
    }));
    let mut served = Served::start(vec![factory.spec(1)], config()).await;
    assert_eq!(served.probe("/healthz").await.code, 200);
    let loading = served.probe("/readyz").await;
    assert_eq!((loading.code, loading.text.as_str()), (503, "loading\n"));
    build.send(()).unwrap();
    assert!(bounded(&mut served.ready).await.unwrap());
    let serving = served.probe("/readyz").await;
    assert_eq!((serving.code, serving.text.as_str()), (200, "serving\n"));
    let metrics = served.probe("/metrics").await;
    assert!(metrics.text.contains(r#"protoguard_workers_alive{model="hall"} 1"#), "{metrics:?}");

    let mut client = served.scoring().await;
    let computing = tokio::spawn(async move { client.score_clip(clip(1)).await });
    assert_eq!(gate.entered().await, [1]);
    served.shutdown.cancel();
    let mut draining = served.probe("/readyz").await;
    while draining.code == 200 {
        draining = served.probe("/readyz").await;
    }
    assert_eq!((draining.code, draining.text.as_str()), (503, "draining\n"));
    // A drain is no reason to restart the process.
    assert_eq!(served.probe("/healthz").await.code, 200);
    gate.release();
    assert!(bounded(computing).await.unwrap().is_ok());
    bounded(served.ended).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_every_50_ms_disturbs_nobody() {
    let served = Arc::new(Served::ready(FakeFactory::new("hall"), config()).await);
    let stop = Arc::new(AtomicBool::new(false));
    let scraper = tokio::spawn({
        let served = Arc::clone(&served);
        let stop = Arc::clone(&stop);
        async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(50));
            let mut pages = 0;
            while !stop.load(Ordering::Relaxed) || pages < 5 {
                ticks.tick().await;
                let page = served.probe("/metrics").await;
                assert_eq!(page.code, 200);
                assert!(page.text.contains("protoguard_batch_size_count"), "{}", page.text);
                pages += 1;
            }
        }
    });
    let mut client = served.scoring().await;
    for value in 0..200 {
        assert!(client.score_clip(clip(value)).await.is_ok());
    }
    stop.store(true, Ordering::Relaxed);
    bounded(scraper).await.unwrap();
    assert_eq!(requests(&served, "OK"), 200.0);
    Arc::into_inner(served).unwrap().stop().await;
}

/// Remembers what it is told.
#[derive(Default)]
struct Heard(Mutex<Vec<TraceContext>>);

impl Traces for Heard {
    fn join(&self, _span: &Span, caller: &TraceContext) {
        self.0.lock().unwrap().push(caller.clone());
    }
}

#[tokio::test]
async fn a_request_joins_the_trace_of_its_caller() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let heard = Arc::new(Heard::default());
    let served = Served::traced(FakeFactory::new("hall"), heard.clone()).await;
    let mut client = served.scoring().await;
    // One of no trace, one of a trace, and one with what vendors add to it.
    client.score_clip(clip(1)).await.unwrap();
    for states in [&[][..], &["a=1", "b=2"]] {
        let mut request = Request::new(clip(1));
        request.metadata_mut().insert("traceparent", PARENT.parse().unwrap());
        for state in states {
            request.metadata_mut().append("tracestate", state.parse().unwrap());
        }
        client.score_clip(request).await.unwrap();
    }
    let context = |state: &str| TraceContext { parent: PARENT.to_owned(), state: state.to_owned() };
    assert_eq!(*heard.0.lock().unwrap(), [context(""), context("a=1,b=2")]);
    served.stop().await;
}
