//! ScoreStream: what an opening may say, and what is said of it.

use protoguard_proto::v1;
use protoguard_proto::v1::FrameOutcome;
use protoguard_proto::v1::score_stream_request::Message as Asked;
use protoguard_service::testing::FakeFactory;
use tonic::Code;
use tonic_types::StatusExt;

use crate::bench::{Served, config};
use crate::camera::{Camera, gray, named, street};

#[tokio::test]
async fn what_an_opening_cannot_have_is_named() {
    let served = Served::ready(street(), config()).await;
    let slow = v1::StreamOpening { frame_interval_ms: 250.0, ..named("door") };
    let refused = Camera::refused(&served, slow).await;
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(
        refused.message(),
        "opening.frame_interval_ms does not suit: the interval between frames is 250.0 ms, and the \
         model's is 100.0 ms: neither that nor a whole multiple of the source's comes within a \
         quarter of it"
    );
    let scene = v1::StreamOpening { scene: "yard".to_owned(), ..named("door") };
    assert_eq!(Camera::refused(&served, scene).await.code(), Code::NotFound);
    let model = v1::StreamOpening { model: "gate".to_owned(), ..named("door") };
    assert_eq!(Camera::refused(&served, model).await.code(), Code::NotFound);

    let mut early = Camera::silent(served.scoring().await).await;
    early.send(gray(1)).await;
    let status = early.answer().await.unwrap_err();
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "opening");
    let (mut twice, _) = Camera::open(&served, named("door")).await;
    twice.ask(Asked::Opening(named("door"))).await;
    let status = twice.answer().await.unwrap_err();
    assert_eq!(
        status.message(),
        "opening is there again; only the first message of a stream is one"
    );
    served.stop().await;
}

#[tokio::test]
async fn a_camera_that_turns_out_to_be_slow_is_refused() {
    let served = Served::ready(street(), config()).await;
    let (mut camera, _) = Camera::open(&served, named("door")).await;
    for frame in 0..15 {
        camera.send_at(250 * frame, Some(gray(50))).await;
        assert_eq!(camera.answered().await.frame.outcome(), FrameOutcome::WarmingUp);
    }
    camera.send_at(250 * 15, Some(gray(50))).await;
    let (_, status) = camera.rest().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("250.0 ms, and the model's is 100.0 ms"), "{status}");
    served.stop().await;
}

#[tokio::test]
async fn a_model_that_lacks_something_says_so() {
    let served = Served::ready(FakeFactory::new("hall"), config()).await;
    let (mut camera, opened) = Camera::open(&served, named("door")).await;
    assert_eq!((opened.frame_interval_ms, opened.alarm), (0.0, None));
    assert_eq!(opened.warnings.len(), 3, "{:?}", opened.warnings);
    // Every frame is the next, whatever its time.
    for at in [0, 0, 7, 90_000] {
        camera.send_at(at, Some(gray(50))).await;
        assert_eq!(camera.answered().await.frame.outcome(), FrameOutcome::WarmingUp);
    }
    camera.send_at(90_001, Some(gray(60))).await;
    let frame = camera.answered().await.frame;
    assert_eq!((frame.outcome(), frame.smoothed_surprise), (FrameOutcome::Scored, None));
    served.stop().await;

    let factory = street().with_card(|card| card.frame_interval = None);
    let served = Served::ready(factory, config()).await;
    let alarm = v1::AlarmOptions { false_alarms_an_hour: 2.0, ..Default::default() };
    let asking = v1::StreamOpening { alarm: Some(alarm), ..named("door") };
    assert_eq!(
        Camera::refused(&served, asking.clone()).await.message(),
        "opening.alarm.false_alarms_an_hour cannot be met by model `hall`: its interval between \
         frames is not known; state frame_interval_ms"
    );
    let asking = v1::StreamOpening { frame_interval_ms: 100.0, ..asking };
    let (_, opened) = Camera::open(&served, asking).await;
    assert!((opened.alarm_threshold.unwrap() - 180f64.log10()).abs() < 1e-9);
    served.stop().await;
}
