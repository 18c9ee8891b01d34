//! ScoreStream: how streams end, what outlasts them, and what they do to others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protoguard_core::ScorerError;
use protoguard_proto::v1;
use protoguard_proto::v1::score_stream_request::Message as Asked;
use protoguard_proto::v1::score_stream_response::Message;
use protoguard_proto::v1::scoring_service_client::ScoringServiceClient;
use protoguard_proto::v1::{AlarmChange, FrameOutcome, StreamClosingReason, WindowRestart};
use protoguard_service::{ConnectionConfig, CredentialFiles, ServiceConfig, StreamConfig};
use tonic::Code;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic_types::StatusExt;

use crate::bench::{Served, Shelf, bounded, clip, config, slot};
use crate::camera::{Camera, gray, lossless, named, street};
use crate::telemetry::until;

/// What a stream that the server ended said last.
fn closing(messages: &[Message]) -> &v1::StreamClosing {
    match messages.last() {
        Some(Message::Closing(closing)) => closing,
        other => panic!("{other:?}"),
    }
}

/// The frames of [`alarmed`], the last four of which fill a window.
const SHOWN: [u8; 6] = [50, 50, 50, 50, 110, 50];

/// A stream whose alarm was raised at the last frame, and the alarm's first event.
async fn alarmed(served: &Served) -> (Camera, v1::AlarmEvent) {
    let (mut camera, _) = Camera::open(served, lossless()).await;
    let mut events = Vec::new();
    for value in SHOWN {
        events.extend(camera.show(gray(value)).await.alarm().cloned());
    }
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].change(), events[0].since_us), (AlarmChange::Started, 500_000));
    (camera, events.remove(0))
}

/// Ends a server, and gives the token of a stream of it.
async fn token_of(served: Served, mut camera: Camera) -> v1::StreamClosing {
    served.shutdown.cancel();
    let (messages, status) = camera.rest().await;
    let reason = status.get_details_error_info().unwrap().reason;
    assert_eq!((status.code(), reason.as_str()), (Code::Unavailable, "DRAINING"));
    bounded(served.ended).await.unwrap().unwrap();
    closing(&messages).clone()
}

fn resuming(closing: &v1::StreamClosing) -> v1::StreamOpening {
    v1::StreamOpening { resume_token: closing.resume_token.clone(), ..lossless() }
}

#[tokio::test]
async fn a_drained_stream_goes_on_elsewhere_and_its_alarm_is_told_once() {
    let [one, two] = [street(), street()].map(|factory| Served::ready(factory, config()));
    let (one, two) = tokio::join!(one, two);
    let (camera, started) = alarmed(&one).await;
    let undisturbed = alarmed(&two).await.0.show(gray(110)).await.frame;
    let closing = token_of(one, camera).await;
    assert_eq!(closing.reason(), StreamClosingReason::Draining);
    assert!(closing.resume_token.len() < 2000, "{} bytes", closing.resume_token.len());

    let (mut camera, _) = Camera::open(&two, resuming(&closing)).await;
    // The last four frames again, which are not scored again.
    camera.next = 200;
    for value in &SHOWN[2..] {
        let answered = camera.show(gray(*value)).await;
        assert_eq!(answered.frame.outcome(), FrameOutcome::WarmingUp);
        assert!(answered.frame.alarm && answered.alarm().is_none());
    }
    let next = camera.show(gray(110)).await;
    assert!(next.alarm().is_none_or(|event| event.change() == AlarmChange::Updated));
    assert_eq!(next.frame.smoothed_surprise, undisturbed.smoothed_surprise);
    assert!(next.frame.smoothed_surprise.is_some());
    let (rest, _) = camera.end().await;
    match rest.as_slice() {
        [Message::Alarm(ended)] => {
            assert_eq!((ended.change(), &ended.id), (AlarmChange::Ended, &started.id));
            assert_eq!(ended.since_us, started.since_us);
        }
        other => panic!("{other:?}"),
    }
    two.stop().await;
}

#[tokio::test]
async fn an_alarm_that_nobody_resumes_for_a_minute_is_over() {
    let [one, two] = [street(), street()].map(|factory| Served::ready(factory, config()));
    let (one, two) = tokio::join!(one, two);
    let (camera, started) = alarmed(&one).await;
    let closing = token_of(one, camera).await;
    let (mut camera, _) = Camera::open(&two, resuming(&closing)).await;
    camera.send_at(60_501, Some(gray(50))).await;
    let answered = camera.answered().await;
    let ended = answered.alarm().unwrap();
    assert_eq!((ended.change(), &ended.id), (AlarmChange::Ended, &started.id));
    // It ended with the last frame that was scored.
    assert_eq!((ended.capture_time_us, answered.frame.alarm), (500_000, false));
    two.stop().await;
}

#[tokio::test]
async fn a_token_is_of_its_key_its_model_and_its_camera() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "sixteen bytes at least").unwrap();
    let credentials = CredentialFiles { resume_key: Some(path), ..Default::default() };
    let keyed = || ServiceConfig { credentials: credentials.clone(), ..config() };
    let one = Served::ready(street(), keyed()).await;
    let (camera, _) = alarmed(&one).await;
    let closing = token_of(one, camera).await;
    let without_key = Served::ready(street(), config()).await;
    let same_key = Served::ready(street(), keyed()).await;
    let refused = async |served: &Served, opening: v1::StreamOpening| {
        let status = Camera::refused(served, opening).await;
        assert_eq!(status.code(), Code::InvalidArgument);
        status.message().to_owned()
    };
    let none_of_ours = "opening.resume_token is none of this server's or of one with the same \
                        resume_key_file; the token of the last StreamClosing is expected, or none";
    assert_eq!(refused(&without_key, resuming(&closing)).await, none_of_ours);
    let mut forged = closing.clone();
    let mut token = forged.resume_token.to_vec();
    *token.last_mut().unwrap() ^= 1;
    forged.resume_token = token.into();
    assert_eq!(refused(&same_key, resuming(&forged)).await, none_of_ours);
    let other = v1::StreamOpening { camera: "gate".to_owned(), ..resuming(&closing) };
    assert_eq!(
        refused(&same_key, other).await,
        "opening.resume_token is of camera `door`, model `hall`, all scenes; one of camera `gate`, \
         model `hall`, all scenes is expected"
    );
    Camera::open(&same_key, resuming(&closing)).await;
    tokio::join!(without_key.stop(), same_key.stop());
}

#[tokio::test]
async fn a_stream_ends_at_its_age_and_at_its_deadline() {
    let max_age = Some(Duration::from_secs(1));
    let streams = StreamConfig { max_age, ..Default::default() };
    let served = Served::ready(street(), ServiceConfig { streams, ..config() }).await;
    let (mut camera, _) = Camera::open(&served, named("door")).await;
    let (messages, status) = camera.rest().await;
    assert_eq!(closing(&messages).reason(), StreamClosingReason::Age);
    assert_eq!(status.get_details_error_info().unwrap().reason, "STREAM_AGE");
    served.stop().await;

    let served = Served::ready(street(), config()).await;
    let mut camera = Camera::calling(served.scoring().await, |request| {
        request.metadata_mut().insert("grpc-timeout", MetadataValue::from_static("1S"));
    })
    .await;
    camera.ask(Asked::Opening(named("door"))).await;
    let (_, status) = camera.rest().await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
    served.stop().await;
}

#[tokio::test]
async fn a_credential_that_is_withdrawn_ends_its_streams() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    std::fs::write(&path, "one\ntwo\n").unwrap();
    let config = ServiceConfig {
        credentials: CredentialFiles { tokens: Some(path.clone()), ..Default::default() },
        look_interval: Duration::from_millis(2),
        ..config()
    };
    let served = Served::ready(street(), config).await;
    let mut cameras = Vec::new();
    for token in ["Bearer one", "Bearer two"] {
        let mut camera = Camera::calling(served.scoring().await, |request| {
            request.metadata_mut().insert("authorization", MetadataValue::from_static(token));
        })
        .await;
        camera.ask(Asked::Opening(lossless())).await;
        assert!(matches!(camera.answer().await, Ok(Message::Opened(_))));
        cameras.push(camera);
    }
    std::fs::write(&path, "two\n").unwrap();
    let (_, status) = cameras[0].rest().await;
    assert_eq!(status.code(), Code::Unauthenticated);
    cameras[1].fill(50).await;
    drop(cameras);
    served.stop().await;
}

#[tokio::test]
async fn a_stream_goes_over_to_the_model_that_takes_its_models_place() {
    let version = |version: &str| street().with_card(|card| card.version = version.to_owned());
    let shelf = Shelf::of(vec![version("one").spec(1)]);
    let source: Arc<Shelf> = Arc::clone(&shelf);
    let mut served = Served::open(source, config()).await;
    assert!(bounded(&mut served.ready).await.unwrap());
    let (mut camera, started) = alarmed(&served).await;

    shelf.put(&slot("hall"), Ok(version("two").spec(1)));
    served.models().await.reload_model(v1::ReloadModelRequest::default()).await.unwrap();
    let answered = camera.show(gray(50)).await;
    let opened = answered.before.iter().find_map(|message| match message {
        Message::Opened(opened) => Some(opened.model_version.as_str()),
        _ => None,
    });
    assert_eq!(opened, Some("two"));
    // The window is as it was, and the alarm stands.
    assert_eq!(answered.frame.outcome(), FrameOutcome::Scored);
    assert!(answered.frame.alarm && answered.alarm().is_none());

    // A model of another rate begins a new window.
    let slower = version("three").with_card(|card| {
        card.frame_interval = Some(crate::camera::interval(110.0));
    });
    shelf.put(&slot("hall"), Ok(slower.spec(1)));
    served.models().await.reload_model(v1::ReloadModelRequest::default()).await.unwrap();
    let answered = camera.show(gray(50)).await;
    assert_eq!(answered.frame.outcome(), FrameOutcome::WarmingUp);
    assert_eq!(answered.frame.restart(), WindowRestart::Model);
    let (rest, status) = camera.end().await;
    assert_eq!(status.code(), Code::Ok);
    assert!(matches!(rest.as_slice(), [Message::Alarm(ended)] if ended.id == started.id));
    served.stop().await;
}

#[tokio::test]
async fn a_worker_that_dies_costs_a_frame_and_no_stream() {
    let poisoned = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&poisoned);
    let factory = street().on_score(move |_| {
        assert!(!seen.load(Ordering::Acquire), "poisoned");
        Ok::<(), ScorerError>(())
    });
    let served = Served::ready(factory, config()).await;
    let (mut camera, _) = Camera::open(&served, lossless()).await;
    camera.fill(50).await;
    poisoned.store(true, Ordering::Release);
    let frame = camera.show(gray(50)).await.frame;
    assert_eq!(frame.outcome(), FrameOutcome::Failed);
    assert_eq!(frame.error.unwrap().reason, "CLIP_NOT_COMPUTED");
    poisoned.store(false, Ordering::Release);
    let scored = async {
        loop {
            let frame = camera.show(gray(50)).await.frame;
            if frame.outcome() == FrameOutcome::Scored {
                return;
            }
            // Until the worker is back.
            assert_eq!(frame.error.unwrap().reason, "NO_HEALTHY_WORKER");
        }
    };
    bounded(scored).await;
    served.stop().await;
}

#[tokio::test]
async fn a_stream_that_says_nothing_ends_and_one_that_pauses_does_not() {
    let connections =
        ConnectionConfig { receive_timeout: Duration::from_secs(1), ..Default::default() };
    let served = Served::ready(street(), ServiceConfig { connections, ..config() }).await;
    let mut silent = Camera::silent(served.scoring().await).await;
    let (mut camera, _) = Camera::open(&served, lossless()).await;
    let (messages, status) = silent.rest().await;
    assert!(messages.is_empty());
    assert_eq!(status.get_details_error_info().unwrap().reason, "SLOW_MESSAGE");
    // As long again has passed for the other, between two messages.
    camera.fill(50).await;
    assert_eq!(camera.end().await.1.code(), Code::Ok);
    served.stop().await;
}

#[tokio::test]
async fn there_are_only_so_many_streams_and_one_that_is_gone_makes_room() {
    let streams = StreamConfig { max_streams: 2, ..Default::default() };
    let served = Served::ready(street(), ServiceConfig { streams, ..config() }).await;
    let (_first, _) = Camera::open(&served, named("door")).await;
    let (second, _) = Camera::open(&served, named("gate")).await;
    let status = Camera::refused(&served, named("yard")).await;
    let info = status.get_details_error_info().unwrap();
    assert_eq!(
        (status.code(), info.reason.as_str()),
        (Code::ResourceExhausted, "TOO_MANY_STREAMS")
    );
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    assert_eq!(served.metric(r#"protoguard_streams{model="hall"}"#), 2.0);
    // Its caller says no word.
    drop(second);
    until(|| served.metric(r#"protoguard_streams{model="hall"}"#) == 1.0).await;
    Camera::open(&served, named("yard")).await;
    served.stop().await;
}

/// A reader that stops.
#[tokio::test]
async fn a_camera_that_does_not_read_ends_and_disturbs_nobody_on_its_connection() {
    let served = Served::ready(street(), config()).await;
    // h2's client ends a connection on which many small answers wait, in proportion to its window.
    let channel = Channel::from_shared(served.address.clone()).unwrap();
    let channel = channel
        .initial_connection_window_size(64 << 20)
        .initial_stream_window_size(64 << 10)
        .connect()
        .await
        .unwrap();
    let client = ScoringServiceClient::new(channel);
    let mut deaf = Vec::new();
    for _ in 0..63 {
        let mut camera = Camera::silent(client.clone()).await;
        camera.ask(Asked::Opening(named("deaf"))).await;
        deaf.push(camera);
    }
    let mut heard = Camera::silent(client.clone()).await;
    heard.ask(Asked::Opening(lossless())).await;
    assert!(matches!(heard.answer().await, Ok(Message::Opened(_))));
    heard.fill(50).await;
    // More unread answers than a window of HTTP/2 and the server's own store hold.
    let flooding: Vec<_> = deaf
        .iter()
        .map(|camera| {
            let sender = camera.sender();
            tokio::spawn(async move {
                for at in 0..2500 {
                    let frame = v1::StreamFrame {
                        id: at,
                        capture_time_us: 1000 * at as i64,
                        picture: None,
                    };
                    if sender.send(crate::camera::asked(Asked::Frame(frame))).await.is_err() {
                        return;
                    }
                }
            })
        })
        .collect();
    for value in 0..50 {
        let answered = heard.show(gray(value)).await;
        assert_eq!(answered.frame.outcome(), FrameOutcome::Scored);
    }
    for flood in flooding {
        bounded(flood).await.unwrap();
    }
    for mut camera in deaf {
        let (_, status) = camera.rest().await;
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.get_details_error_info().unwrap().reason, "ANSWERS_UNREAD");
    }
    heard.show(gray(1)).await;
    served.stop().await;
}

#[tokio::test]
async fn streams_are_no_requests_that_last_long_and_leave_callers_their_share() {
    let served = Served::ready(street(), config()).await;
    let (mut camera, _) = Camera::open(&served, lossless()).await;
    camera.fill(50).await;
    served.scoring().await.score_clip(clip(1)).await.unwrap();
    assert_eq!(camera.end().await.1.code(), Code::Ok);
    let series = r#"protoguard_request_duration_seconds_count{model="hall",outcome="ok"}"#;
    assert_eq!(served.metric(series), 1.0);
    let counted =
        r#"protoguard_requests_total{method="protoguard.v1.ScoringService/ScoreStream",code="OK"}"#;
    until(|| served.metric(counted) == 1.0).await;
    served.stop().await;
}
