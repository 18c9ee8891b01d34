//! What an answer contains, what models tell of themselves, and reflection.

use protoguard_proto::v1;
use protoguard_proto::v1::score_clip_request::Clip;
use protoguard_service::ServiceConfig;
use protoguard_service::testing::{FakeFactory, detector};
use tokio_stream::StreamExt;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tonic_reflection::pb::v1alpha;

use crate::bench::{Served, bounded, clip, clip_of, config};

#[tokio::test]
async fn a_basic_view_has_scores_and_no_pictures() {
    let served = Served::ready(FakeFactory::new("hall"), config()).await;
    let request = v1::ScoreClipRequest { request_id: "r-1".to_owned(), ..clip(51) };
    let response = served.scoring().await.score_clip(request).await.unwrap().into_inner();
    // A step of 10 of 255.
    let psnr = -20.0 * (10.0f64 / 255.0).log10();
    assert!((response.psnr_db.unwrap() - psnr).abs() < 1e-9);
    assert!((response.feature_distance.unwrap() - 0.2).abs() < 1e-9);
    assert!((0.0..=1.0).contains(&response.regularity.unwrap()));
    assert_eq!(response.calibration_id, "default");
    assert_eq!(response.false_alarm_rate, Some(0.01));
    let below = response.regularity.unwrap() < response.regularity_threshold.unwrap();
    assert_eq!(response.anomalous, Some(below));
    // Its calibrations have no detector.
    assert_eq!((response.surprise, response.surprise_threshold), (None, None));
    assert!(response.surprise_sum.is_none() && response.parts.is_empty());
    assert_eq!(response.request_id, "r-1");
    assert_eq!((response.model.as_str(), response.model_version.as_str()), ("hall", "fake"));
    assert_eq!(response.timings.unwrap().batch_size, 1);
    assert!(response.predicted_frame.is_none() && response.error_map.is_none());
    assert!(response.rgb_differences.is_empty());
    served.stop().await;
}

fn with_detector() -> FakeFactory {
    FakeFactory::new("hall").with_card(|card| card.calibrations[1].detector = Some(detector()))
}

/// The fake's prediction is off by 10 of 255 everywhere: -28.13 dB, 11.87 above the -40 that
/// surprise 1, and every 10 more are one more.
#[tokio::test]
async fn the_verdict_rests_on_the_surprise_where_there_is_a_detector() {
    let expected = 1.0 + (20.0 * (10.0f64 / 255.0).log10() + 40.0) / 10.0;
    for (false_alarm_rate, threshold) in [(0.01, 2.0), (0.001, 3.0), (0.5, -0.5f64.log10())] {
        let config = ServiceConfig { false_alarm_rate, ..config() };
        let factory = with_detector().with_card(|card| {
            // Without one it would have no threshold for the other rates.
            card.calibrations[0].detector = Some(detector());
        });
        let served = Served::ready(factory, config).await;
        let request = v1::ScoreClipRequest { scene: "hall".to_owned(), ..clip(51) };
        let response = served.scoring().await.score_clip(request).await.unwrap().into_inner();
        let surprise = response.surprise.unwrap();
        assert!((surprise - expected).abs() < 1e-6, "{surprise}, {expected} is expected");
        assert!((response.surprise_sum.unwrap() - expected).abs() < 1e-6);
        let found = response.surprise_threshold.unwrap();
        assert!((found - threshold).abs() < 1e-12);
        assert_eq!(response.anomalous, Some(surprise > threshold));
        assert_eq!(response.false_alarm_rate, Some(false_alarm_rate));
        let [part] = response.parts.as_slice() else { panic!("{:?}", response.parts) };
        assert_eq!(part.part(), v1::Part::PredictionError);
        assert!((part.value - 20.0 * (10.0f64 / 255.0).log10()).abs() < 1e-6);
        assert_eq!(part.surprise, response.surprise_sum.unwrap());
        assert_eq!(response.calibration_id, "hall");
        let observed = r#"protoguard_surprise_count{model="hall",scene="hall"}"#;
        assert_eq!(served.metric(observed), 1.0);
        served.stop().await;
    }
}

/// Another scene of the same model has no detector, and is answered as if there were none.
#[tokio::test]
async fn a_scene_without_a_detector_is_answered_as_ever() {
    let mut answers = Vec::new();
    for factory in [FakeFactory::new("hall"), with_detector()] {
        let served = Served::ready(factory, config()).await;
        let request = v1::ScoreClipRequest { request_id: "r-1".to_owned(), ..clip(51) };
        let response = served.scoring().await.score_clip(request).await.unwrap().into_inner();
        answers.push(v1::ScoreClipResponse { timings: None, ..response });
        served.stop().await;
    }
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].anomalous.is_some() && answers[0].surprise.is_none());
}

#[tokio::test]
async fn where_the_error_lies_is_told() {
    let served = Served::ready(with_detector(), config()).await;
    let response = served.scoring().await.score_clip(clip(51)).await.unwrap().into_inner();
    // The whole frame changes by the same.
    let region = response.region.unwrap();
    assert_eq!([region.left, region.top, region.right, region.bottom], [0.0, 0.0, 1.0, 1.0]);
    assert!((region.share - 1.0).abs() < 1e-12);
    served.stop().await;
}

#[tokio::test]
async fn a_full_view_has_every_picture_in_the_asked_encoding() {
    let served = Served::ready(FakeFactory::new("hall"), config()).await;
    let request = v1::ScoreClipRequest {
        view: v1::View::Full as i32,
        image_encoding: v1::ImageEncoding::RawU8 as i32,
        scene: "hall".to_owned(),
        ..clip(51)
    };
    let response = served.scoring().await.score_clip(request).await.unwrap().into_inner();
    assert_eq!(response.calibration_id, "hall");
    let predicted = response.predicted_frame.unwrap();
    assert_eq!((predicted.height, predicted.width, predicted.channels), (16, 16, 3));
    assert!(predicted.data.iter().all(|&value| value == 51));
    assert_eq!(response.rgb_differences.len(), 4);
    // Nothing moved among the past frames: 0 lies in the middle of [-2, 2].
    assert!(response.rgb_differences.iter().all(|map| map.data.iter().all(|&v| v == 128)));
    let error_map = response.error_map.unwrap();
    assert_eq!(error_map.channels, 1);
    // The root of the squared error of 10 of 255, as 8 bits.
    assert!(error_map.data.iter().all(|&value| value == 10));
    served.stop().await;
}

#[tokio::test]
async fn a_clip_without_target_has_a_prediction_but_no_verdict() {
    let served = Served::ready(with_detector(), config()).await;
    let request = v1::ScoreClipRequest {
        view: v1::View::Full as i32,
        scene: "hall".to_owned(),
        ..clip_of(51, 4)
    };
    let response = served.scoring().await.score_clip(request).await.unwrap().into_inner();
    assert_eq!((response.psnr_db, response.regularity, response.anomalous), (None, None, None));
    assert!(response.feature_distance.is_some() && response.predicted_frame.is_some());
    assert!(response.error_map.is_none());
    assert!(response.surprise.is_none() && response.parts.is_empty());
    assert!(response.region.is_none());
    served.stop().await;
}

#[tokio::test]
async fn the_built_in_clips_need_no_bytes() {
    let served = Served::ready(FakeFactory::new("hall"), config()).await;
    let mut client = served.scoring().await;
    for kind in [v1::TestClip::Normal, v1::TestClip::Anomalous] {
        let clip = Some(Clip::TestClip(kind as i32));
        let request = v1::ScoreClipRequest { clip, ..v1::ScoreClipRequest::default() };
        assert!(client.score_clip(request).await.unwrap().into_inner().psnr_db.is_some());
    }
    served.stop().await;
}

#[tokio::test]
async fn models_are_described() {
    let served = Served::ready(FakeFactory::new("hall"), config()).await;
    let mut client = served.models().await;
    let listed = client.list_models(v1::ListModelsRequest {}).await.unwrap().into_inner();
    assert_eq!(listed.default_model, "hall");
    let model = client.get_model(v1::GetModelRequest::default()).await.unwrap().into_inner().model;
    let model = model.unwrap();
    assert_eq!(listed.models, std::slice::from_ref(&model));
    assert_eq!((model.past_frames, model.side, model.calibrations.len()), (4, 16, 2));
    served.stop().await;
}

fn names(response: ServerReflectionResponse) -> Vec<String> {
    let Some(MessageResponse::ListServicesResponse(list)) = response.message_response else {
        panic!("no list of services")
    };
    list.service.into_iter().map(|service| service.name).collect()
}

#[tokio::test]
async fn reflection_lists_the_services_in_both_versions() {
    let served = Served::ready(FakeFactory::new("hall"), config()).await;
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(served.channel().await);
    let mut answers =
        client.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
    let found = names(bounded(answers.next()).await.unwrap().unwrap());
    for expected in
        ["protoguard.v1.ScoringService", "protoguard.v1.ModelService", "grpc.health.v1.Health"]
    {
        assert!(found.iter().any(|name| name == expected), "{expected} is not in {found:?}");
    }

    use v1alpha::server_reflection_client::ServerReflectionClient as AlphaClient;
    use v1alpha::server_reflection_request::MessageRequest as AlphaRequest;
    let ask = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(AlphaRequest::ListServices(String::new())),
    };
    let mut client = AlphaClient::new(served.channel().await);
    let mut answers =
        client.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
    let answer = bounded(answers.next()).await.unwrap().unwrap();
    assert!(format!("{answer:?}").contains("protoguard.v1.ScoringService"));
    served.stop().await;
}
