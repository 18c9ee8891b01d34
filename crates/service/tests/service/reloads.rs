//! Models that take the places of others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use protoguard_core::{ClipShape, ScorerError};
use protoguard_proto::v1;
use protoguard_service::testing::FakeFactory;
use protoguard_service::{ModelSpec, ServiceConfig, Slot, SourceError};
use tokio::task::JoinSet;
use tonic::Code;
use tonic_types::StatusExt;

use crate::bench::{Gate, Served, Shelf, bounded, clip, config, slot};
use crate::telemetry::until;

fn version(version: &str) -> FakeFactory {
    FakeFactory::new("hall").with_card(|card| card.version = version.to_owned())
}

fn broken(reason: &str) -> Result<ModelSpec, SourceError> {
    Err(SourceError { reason: reason.to_owned() })
}

async fn open(shelf: &Arc<Shelf>, config: ServiceConfig) -> Served {
    let source: Arc<Shelf> = Arc::clone(shelf);
    let mut served = Served::open(source, config).await;
    assert!(bounded(&mut served.ready).await.unwrap());
    served
}

async fn answering(served: &Served, model: &str) -> Result<String, tonic::Status> {
    let request = v1::ScoreClipRequest { model: model.to_owned(), ..clip(1) };
    let answer = served.scoring().await.score_clip(request).await?;
    Ok(answer.into_inner().model_version)
}

async fn reload(served: &Served, model: &str) -> Result<Vec<v1::ReloadedModel>, tonic::Status> {
    let request = v1::ReloadModelRequest { model: model.to_owned() };
    let answer = bounded(served.models().await.reload_model(request)).await?;
    Ok(answer.into_inner().models)
}

#[tokio::test]
async fn a_call_puts_a_new_version_in_the_place_of_the_old() {
    let shelf = Shelf::of(vec![version("one").spec(1)]);
    let served = open(&shelf, config()).await;
    assert_eq!(answering(&served, "").await.unwrap(), "one");
    shelf.put(&slot("hall"), Ok(version("two").spec(2)));
    let reloaded = reload(&served, "hall").await.unwrap();
    let found = &reloaded[0];
    assert_eq!((found.version.as_str(), found.previous_version.as_str()), ("two", "one"));
    assert_eq!(answering(&served, "hall@two").await.unwrap(), "two");
    assert_eq!(answering(&served, "hall@one").await.unwrap_err().code(), Code::NotFound);
    let metric = |outcome: &str| {
        let labels = format!(r#"{{model="hall",outcome="{outcome}"}}"#);
        served.metric(&format!("protoguard_reloads_total{labels}"))
    };
    assert_eq!((metric("ok"), metric("failed")), (1.0, 0.0));
    until(|| served.metric(r#"protoguard_workers_alive{model="hall"}"#) == 2.0).await;
    assert!(!served.metrics.page().contains(r#"version="one""#));
    assert_eq!(reload(&served, "attic").await.unwrap_err().code(), Code::NotFound);
    served.stop().await;
}

#[tokio::test]
async fn a_broken_candidate_leaves_the_old_one_and_is_told_everywhere() {
    let shelf = Shelf::of(vec![version("one").spec(1)]);
    let served = open(&shelf, config()).await;
    let unbuilt = version("two")
        .on_build(|| Err(ScorerError::Load { reason: "golden clip scores otherwise".to_owned() }));
    let panicking = version("two").on_build(|| panic!("no such thing"));
    let other_shape =
        version("two").with_card(|card| card.shape = ClipShape::new(3, card.shape.side()).unwrap());
    let cases = [
        (broken("the hash differs"), "the hash differs"),
        (Ok(unbuilt.spec(1)), "golden clip scores otherwise"),
        (Ok(panicking.spec(1)), "no such thing"),
        (Ok(other_shape.spec(1)), "past_frames is 3; 4 is expected"),
        (Ok(ModelSpec { replicas: Vec::new() }), "0 workers"),
    ];
    for (number, (candidate, words)) in (1..).zip(cases) {
        shelf.put(&slot("hall"), candidate);
        let refused = reload(&served, "hall").await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert_eq!(refused.get_details_error_info().unwrap().reason, "NOT_RELOADED");
        assert!(refused.message().contains(words), "{refused}");
        assert_eq!(answering(&served, "").await.unwrap(), "one");
        let failed = r#"protoguard_reloads_total{model="hall",outcome="failed"}"#;
        assert_eq!(served.metric(failed), f64::from(number));
        let ready = served.probe("/readyz").await;
        assert!(ready.code == 200 && ready.text.contains(words), "{ready:?}");
    }
    shelf.put(&slot("hall"), Ok(version("two").spec(1)));
    assert!(reload(&served, "").await.is_ok());
    assert_eq!(served.probe("/readyz").await.text, "serving\n");
    served.stop().await;
}

#[tokio::test]
async fn what_was_admitted_before_is_answered_by_the_old_one() {
    let (old, mut gate) = Gate::before(version("one"));
    let shelf = Shelf::of(vec![old.spec(1)]);
    let served = open(&shelf, config()).await;
    let client = served.scoring().await;
    let score = |value| {
        let mut client = client.clone();
        tokio::spawn(async move { client.score_clip(clip(value)).await.unwrap().into_inner() })
    };
    let computing = score(1);
    assert_eq!(gate.entered().await, [1]);
    let queued = score(2);
    until(|| served.metric(r#"protoguard_queue_clips{model="hall"}"#) == 1.0).await;
    shelf.put(&slot("hall"), Ok(version("two").spec(1)));
    assert!(reload(&served, "").await.is_ok());
    assert_eq!(bounded(score(3)).await.unwrap().model_version, "two");
    gate.release();
    assert_eq!(gate.entered().await, [2]);
    gate.release();
    for old in [computing, queued] {
        assert_eq!(bounded(old).await.unwrap().model_version, "one");
    }
    until(|| served.metric(r#"protoguard_workers_alive{model="hall"}"#) == 1.0).await;
    served.stop().await;
}

#[tokio::test]
async fn a_changed_file_is_noticed_and_a_source_that_vanishes_is_survived() {
    let shelf = Shelf::of(vec![version("one").spec(1)]);
    let look_interval = Duration::from_millis(5);
    let served = open(&shelf, ServiceConfig { look_interval, ..config() }).await;
    let reloads = |outcome: &str| {
        let labels = format!(r#"{{model="hall",outcome="{outcome}"}}"#);
        served.metric(&format!("protoguard_reloads_total{labels}"))
    };
    shelf.put(&slot("hall"), Ok(version("two").spec(1)));
    until(|| reloads("ok") == 1.0).await;
    assert_eq!(answering(&served, "").await.unwrap(), "two");
    shelf.put(&slot("hall"), broken("half a file"));
    until(|| reloads("failed") == 1.0).await;
    shelf.vanish(true);
    assert_eq!(reload(&served, "").await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(answering(&served, "").await.unwrap(), "two");
    shelf.vanish(false);
    shelf.put(&slot("hall"), Ok(version("three").spec(1)));
    until(|| reloads("ok") == 2.0).await;
    assert_eq!(answering(&served, "").await.unwrap(), "three");
    // The broken file was tried once and not at every look.
    assert_eq!(reloads("failed"), 1.0);
    served.stop().await;
}

#[tokio::test]
async fn versions_and_aliases_are_names_of_models() {
    let shelf = Shelf::of(vec![FakeFactory::new("door").spec(1)]);
    let place = |label: &str| Slot { name: "hall".to_owned(), label: Some(label.to_owned()) };
    for label in ["v2", "v10", "v9"] {
        shelf.add(place(label), Ok(version(&format!("hash-of-{label}")).spec(1)));
    }
    let aliases = [("live", "hall@v9"), ("any", "hall")]
        .map(|(alias, target)| (alias.to_owned(), target.to_owned()));
    let default_model = "live".to_owned();
    let served =
        open(&shelf, ServiceConfig { aliases: aliases.into(), default_model, ..config() }).await;
    let cases = [
        ("", "hash-of-v9"),
        ("live", "hash-of-v9"),
        ("any", "hash-of-v10"),
        ("any@v2", "hash-of-v2"),
        ("hall", "hash-of-v10"),
        ("hall@v2", "hash-of-v2"),
        ("hall@hash-of-v9", "hash-of-v9"),
        ("door", "fake"),
    ];
    for (asked, expected) in cases {
        assert_eq!(answering(&served, asked).await.unwrap(), expected, "{asked}");
    }
    let unknown = answering(&served, "hall@v3").await.unwrap_err();
    assert!(unknown.message().contains("hall@v10, hall@v2, hall@v9"), "{unknown}");
    let mut models = served.models().await;
    let listed = models.list_models(v1::ListModelsRequest {}).await.unwrap().into_inner();
    assert_eq!((listed.models.len(), listed.default_model.as_str()), (4, "live"));
    assert_eq!(listed.aliases["live"], "hall@v9");
    assert!(listed.models.iter().any(|model| model.label == "v10"));

    // A version that nothing names goes with its file; one that an alias names stays.
    shelf.remove(&place("v2"));
    shelf.remove(&place("v9"));
    let round = bounded(served.reloader.reload_changed()).await;
    assert!(round.reloaded.is_empty());
    assert_eq!(round.failed.keys().collect::<Vec<_>>(), ["hall@v9"]);
    assert_eq!(answering(&served, "hall@v2").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(answering(&served, "live").await.unwrap(), "hash-of-v9");
    served.stop().await;
}

#[tokio::test]
async fn a_loss_is_noticed_after_others_were_replaced_and_in_what_replaced_them() {
    for lossy in ["door", "hall"] {
        let lost = move |name: &str| {
            let fails = name == lossy;
            FakeFactory::new(name).on_score(move |_| match fails {
                true => Err(ScorerError::DeviceLost { reason: "gone".to_owned() }),
                false => Ok(()),
            })
        };
        let shelf = Shelf::of(vec![lost("door").spec(1), lost("hall").spec(1)]);
        let served = open(&shelf, config()).await;
        shelf.put(&slot("hall"), Ok(lost("hall").spec(1)));
        assert!(reload(&served, "hall").await.is_ok());
        until(|| served.metric(r#"protoguard_workers_alive{model="hall"}"#) == 1.0).await;
        assert_eq!(answering(&served, lossy).await.unwrap_err().code(), Code::Unavailable);
        let error = bounded(served.ended).await.unwrap().unwrap_err().to_string();
        assert!(error.starts_with(&format!("model `{lossy}` is lost")), "{error}");
    }
}

/// E7 in small: the trainer publishes, good and bad, and no caller notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_under_load_fail_no_request() {
    const RELOADS: usize = 100;
    let shelf = Shelf::of(vec![version("0").spec(2)]);
    let served = open(&shelf, config()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for caller in 0..4 {
        let mut client = served.scoring().await;
        let stop = Arc::clone(&stop);
        let answered = Arc::clone(&answered);
        callers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                client.score_clip(clip(caller)).await.unwrap();
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let mut last_good = 0;
    for number in 1..=RELOADS {
        let fresh = version(&number.to_string());
        let candidate = match number % 9 {
            3 => broken("the file is cut short"),
            6 => Ok(fresh.on_build(|| Err(ScorerError::Load { reason: "odd".to_owned() })).spec(2)),
            0 => Ok(fresh.with_card(|card| card.motion_branch = false).spec(2)),
            _ => Ok(fresh.spec(2)),
        };
        shelf.put(&slot("hall"), candidate);
        // Some answers between two reloads, so that load and reload really overlap.
        let before = answered.load(Ordering::Relaxed);
        let reloaded = reload(&served, "hall").await;
        assert_eq!(reloaded.is_ok(), number % 3 != 0, "{number}: {reloaded:?}");
        if reloaded.is_ok() {
            last_good = number;
        }
        until(|| answered.load(Ordering::Relaxed) > before).await;
    }
    assert_eq!(answering(&served, "").await.unwrap(), last_good.to_string());
    stop.store(true, Ordering::Relaxed);
    bounded(callers.join_all()).await;
    // Of all the threads that were, two are left.
    until(|| served.metric(r#"protoguard_workers_alive{model="hall"}"#) == 2.0).await;
    assert_eq!(served.metric(r#"protoguard_in_flight_clips{model="hall"}"#), 0.0);
    served.stop().await;
}
