//! The typed client's calls.

use std::time::Duration;

use protoguard_client::{Client, ClientOptions, Health};
use protoguard_proto::v1;
use tokio::net::TcpListener;
use tonic::{Code, Status};

use crate::server::{Answer, Fixture, model};

fn unavailable() -> Answer {
    Answer::Refuse(Status::unavailable("model is loading"))
}

#[tokio::test]
async fn unavailable_twice_and_then_an_answer() {
    let fixture = Fixture::start([unavailable(), unavailable(), Answer::Score]).await;
    let response = fixture.score().await.unwrap();
    assert_eq!((response.regularity, response.request_id.as_str()), (Some(0.907), "7"));
    assert_eq!(fixture.seen(), 3);
}

#[tokio::test]
async fn attempts_end_and_the_last_error_is_told() {
    let fixture = Fixture::start((0..9).map(|_| unavailable())).await;
    let error = fixture.score().await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Unavailable));
    let expected = format!("server at {} answered UNAVAILABLE: model is loading", fixture.address);
    assert_eq!((error.to_string(), fixture.seen()), (expected, 4));
}

#[tokio::test]
async fn what_stays_wrong_is_asked_once() {
    for status in
        [Status::invalid_argument("clip has 3 frames"), Status::resource_exhausted("too large")]
    {
        let code = status.code();
        let fixture = Fixture::start([Answer::Refuse(status)]).await;
        assert_eq!(fixture.score().await.unwrap_err().code(), Some(code));
        assert_eq!(fixture.seen(), 1);
    }
}

#[tokio::test]
async fn the_deadline_ends_a_silent_call_and_the_server_knows_it() {
    let mut fixture = Fixture::start([Answer::Silence]).await;
    fixture.options.deadline = Duration::from_millis(200);
    let error = fixture.score().await.unwrap_err();
    assert_eq!(error.code(), Some(Code::DeadlineExceeded));
    let expected = format!("server at {} did not answer within 200 ms", fixture.address);
    assert_eq!(error.to_string(), expected);
    let timeout = fixture.script.seen.lock().unwrap()[0].clone();
    assert!(timeout.ends_with('u') || timeout.ends_with('n'), "grpc-timeout is {timeout:?}");
}

#[tokio::test]
async fn a_clip_larger_than_the_usual_message_limit_is_sent() {
    let fixture = Fixture::start([]).await;
    let client = Client::connect(&fixture.address, fixture.options.clone()).await.unwrap();
    let data = vec![7; 24 << 20].into();
    let frames = v1::RawFrames { data, ..Default::default() };
    let clip = Some(v1::score_clip_request::Clip::RawFrames(frames));
    client.score_clip(v1::ScoreClipRequest { clip, ..Default::default() }).await.unwrap();
}

#[tokio::test]
async fn models_and_health() {
    let fixture = Fixture::start([]).await;
    let client = Client::connect(&fixture.address, fixture.options.clone()).await.unwrap();
    assert_eq!(client.models().await.unwrap().default_model, "hall");
    assert_eq!(client.model("").await.unwrap(), model());
    assert_eq!(client.model("gate").await.unwrap_err().code(), Some(Code::NotFound));
    let incomplete = client.model("empty").await.unwrap_err().to_string();
    assert!(incomplete.ends_with("answered without model"), "{incomplete}");
    assert_eq!(client.health("").await.unwrap(), Health::Serving);
    let scoring = "protoguard.v1.ScoringService";
    assert_eq!(client.health(scoring).await.unwrap(), Health::NotServing);
    assert_eq!(client.health("nobody").await.unwrap_err().code(), Some(Code::NotFound));
}

#[tokio::test]
async fn wrong_addresses_are_named() {
    for address in ["", "http://", "127.0.0.1", "https://127.0.0.1:1", "http://a b:1"] {
        let error = Client::connect(address, ClientOptions::default()).await.unwrap_err();
        let expected = format!(
            "address is {address:?}; host and port such as http://127.0.0.1:50051 are expected"
        );
        assert_eq!(error.to_string(), expected);
    }
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = Client::connect(&free.to_string(), ClientOptions::default()).await.unwrap_err();
    let words = error.to_string();
    assert!(words.starts_with(&format!("no server answers at http://{free}: ")), "{words}");
    assert!(words.contains("refused"), "{words}");
}
