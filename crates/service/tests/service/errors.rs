//! What is refused, and that the answer says why and what would be accepted.

use protoguard_proto::v1;
use protoguard_proto::v1::score_clip_request::Clip;
use protoguard_service::testing::FakeFactory;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::bench::{Gate, Served, bounded, clip, clip_of, config, not_a_number};

async fn refused(served: &Served, request: v1::ScoreClipRequest) -> Status {
    bounded(served.scoring().await.score_clip(request)).await.unwrap_err()
}

/// Field, then description, of every violation.
fn violations(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert_eq!(status.get_details_error_info().unwrap().domain, "protoguard");
    let found = status.get_details_bad_request().unwrap().field_violations;
    found.iter().map(|found| format!("{} {}", found.field, found.description)).collect()
}

fn raw(change: impl FnOnce(&mut v1::RawFrames)) -> v1::ScoreClipRequest {
    let mut request = clip(1);
    let Some(Clip::RawFrames(frames)) = &mut request.clip else { panic!("not raw") };
    change(frames);
    request
}

#[tokio::test]
async fn every_wrong_request_names_its_field() {
    let served = Served::ready(FakeFactory::new("hall"), config()).await;
    let huge = raw(|frames| (frames.height, frames.width) = (65_535, 65_535));
    let nan = not_a_number();
    let text = v1::ScoreClipRequest {
        clip: Some(Clip::EncodedFrames(v1::EncodedFrames { frames: vec!["text".into(); 5] })),
        ..v1::ScoreClipRequest::default()
    };
    let cases = [
        (clip_of(1, 3), "raw_frames.count has 3 frames; 5 are expected"),
        (huge, "raw_frames.data has 1280 bytes; 21474181125"),
        (nan, "raw_frames.data frame 0 has value NaN"),
        (text, "encoded_frames.frames[0] image is in no known format"),
        (raw(|frames| frames.pixel_format = 9), "raw_frames.pixel_format is 9; accepted are"),
        (v1::ScoreClipRequest::default(), "clip is absent; one of"),
        (v1::ScoreClipRequest { view: 9, ..clip(1) }, "view is 9; accepted are"),
        (
            v1::ScoreClipRequest { outputs: vec![3], ..clip_of(1, 4) },
            "outputs has OUTPUT_ERROR_MAP",
        ),
    ];
    for (request, expected) in cases {
        let found = violations(&refused(&served, request).await);
        assert!(found[0].starts_with(expected), "{found:?}, not {expected}");
    }
    served.stop().await;
}

#[tokio::test]
async fn what_is_unknown_is_answered_with_what_exists() {
    let models = ["door", "hall"].map(|name| FakeFactory::new(name).spec(1));
    let mut served = Served::start(models.into(), config()).await;
    assert!(bounded(&mut served.ready).await.unwrap());
    let named = |model: &str| v1::ScoreClipRequest { model: model.to_owned(), ..clip(1) };
    for asked in ["attic", "hall@other"] {
        let status = refused(&served, named(asked)).await;
        assert_eq!(status.code(), Code::NotFound);
        let expected = format!("model `{asked}` is not loaded; loaded are door@fake, hall@fake");
        assert_eq!(status.message(), expected);
        assert_eq!(status.get_details_error_info().unwrap().reason, "MODEL_NOT_FOUND");
    }
    let status = refused(&served, v1::ScoreClipRequest { scene: "attic".into(), ..clip(1) }).await;
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().ends_with("scenes are hall"), "{status}");

    let mut scoring = served.scoring().await;
    let answered = scoring.score_clip(named("door@fake")).await.unwrap().into_inner();
    assert_eq!((answered.model.as_str(), answered.model_version.as_str()), ("door", "fake"));
    let mut models = served.models().await;
    let request = v1::GetModelRequest { model: "attic".to_owned() };
    assert_eq!(models.get_model(request).await.unwrap_err().code(), Code::NotFound);
    served.stop().await;
}

#[tokio::test]
async fn an_output_that_the_model_lacks_is_refused_and_a_view_gives_what_there_is() {
    let factory = FakeFactory::new("hall").with_card(|card| card.motion_branch = false);
    let served = Served::ready(factory, config()).await;
    let listed = vec![v1::Output::RgbDifference as i32];
    let status = refused(&served, v1::ScoreClipRequest { outputs: listed, ..clip(1) }).await;
    assert!(violations(&status)[0].contains("no motion branch"));
    let full = v1::ScoreClipRequest { view: v1::View::Full as i32, ..clip(1) };
    assert!(served.scoring().await.score_clip(full).await.is_ok());
    served.stop().await;
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_says_when_to_retry() {
    let mut limits = config();
    limits.admission.max_clips = 1;
    let (factory, mut gate) = Gate::before(FakeFactory::new("hall"));
    let served = Served::ready(factory, limits).await;
    let mut client = served.scoring().await;
    let first = tokio::spawn(async move { client.score_clip(clip(1)).await });
    assert_eq!(gate.entered().await, [1]);
    let status = refused(&served, clip(2)).await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.get_details_error_info().unwrap().reason, "OVERLOADED");
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    gate.release();
    assert!(bounded(first).await.unwrap().is_ok());
    served.stop().await;
}

#[tokio::test]
async fn a_queue_full_of_bytes_refuses_what_would_not_fit() {
    let mut limits = config();
    // One clip and its request, and not two.
    limits.admission.max_bytes = 8000;
    let (factory, mut gate) = Gate::before(FakeFactory::new("hall"));
    let served = Served::ready(factory, limits).await;
    let mut client = served.scoring().await;
    let first = tokio::spawn(async move { client.score_clip(clip(1)).await });
    assert_eq!(gate.entered().await, [1]);
    let status = refused(&served, clip(2)).await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    let info = status.get_details_error_info().unwrap();
    assert_eq!(
        (info.reason.as_str(), info.metadata["limit"].as_str()),
        ("OVERLOADED", "8000 bytes")
    );
    gate.release();
    assert!(bounded(first).await.unwrap().is_ok());
    served.stop().await;
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_with_the_limit() {
    let limits = protoguard_service::ServiceConfig { max_message_bytes: 1000, ..config() };
    let served = Served::ready(FakeFactory::new("hall"), limits).await;
    let status = refused(&served, clip(1)).await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "MESSAGE_TOO_LARGE");
    assert_eq!(info.metadata["limit"], "1000 bytes");
    served.stop().await;
}
