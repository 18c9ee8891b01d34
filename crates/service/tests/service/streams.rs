//! ScoreStream: what becomes of frames.

use protoguard_proto::v1;
use protoguard_proto::v1::score_stream_response::Message;
use protoguard_proto::v1::stream_frame::Picture;
use protoguard_proto::v1::{AlarmChange, FrameOutcome, WindowRestart};
use protoguard_service::{AdmissionLimits, ServiceConfig};
use tonic::Code;

use crate::bench::{Gate, Served, clip, config};
use crate::camera::{Camera, gray, gray_of, lossless, named, street};

#[tokio::test]
async fn every_frame_is_answered_and_scores_are_those_of_a_clip() {
    let served = Served::ready(street(), config()).await;
    let (mut camera, opened) = Camera::open(&served, named("door")).await;
    assert_eq!((opened.model.as_str(), opened.model_version.as_str()), ("hall", "fake"));
    assert_eq!((opened.frame_interval_ms, opened.past_frames), (100.0, 4));
    assert_eq!(opened.calibration_id, "default");
    // 36 000 frames an hour, of which one alarm in a hundred unusual ones: 360 of them are too many.
    assert!((opened.alarm_threshold.unwrap() - 360f64.log10()).abs() < 1e-9);
    let alarm = opened.alarm.unwrap();
    assert_eq!((alarm.unusual_frames, alarm.among_frames, alarm.hold_frames), (2, 3, Some(3)));
    assert_eq!(alarm.false_alarms_an_hour, 1.0);
    assert_eq!(opened.warnings, ["the calibration does not know how the camera looks"]);

    camera.fill(50).await;
    let answered = camera.show(gray(60)).await;
    assert_eq!(answered.frame.outcome(), FrameOutcome::Scored);
    assert_eq!((answered.frame.id, answered.frame.capture_time_us), (400, 400_000));
    let mut alone = served.scoring().await.score_clip(clip(50)).await.unwrap().into_inner();
    let scores = answered.frame.scores.unwrap();
    assert!(alone.surprise.is_some() && alone.region.is_some() && !alone.parts.is_empty());
    for constant in [&mut alone.model, &mut alone.model_version, &mut alone.calibration_id] {
        constant.clear();
    }
    let alone = v1::ScoreClipResponse {
        request_id: String::new(),
        timings: scores.timings,
        regularity_threshold: None,
        surprise_threshold: None,
        false_alarm_rate: None,
        ..alone
    };
    assert_eq!(scores, alone);
    // The first of a stream is smoothed with nothing.
    assert_eq!(answered.frame.smoothed_surprise, scores.surprise);
    let (rest, status) = camera.end().await;
    assert_eq!((rest.len(), status.code()), (0, Code::Ok));
    served.stop().await;
}

#[tokio::test]
async fn frames_are_thinned_to_the_models_rate_before_they_are_decoded() {
    let served = Served::ready(street(), config()).await;
    let opening = v1::StreamOpening { frame_interval_ms: 40.0, ..lossless() };
    let (mut camera, _) = Camera::open(&served, opening).await;
    let mut outcomes = Vec::new();
    for frame in 0..14 {
        // What is off the grid may be anything.
        let on_grid = frame % 3 == 0;
        let picture = on_grid.then(|| gray(90));
        camera.send_at(40 * frame, picture).await;
        outcomes.push(camera.answered().await.frame.outcome());
    }
    use FrameOutcome::{OffGrid, Scored, WarmingUp};
    let [w, s, o] = [WarmingUp, Scored, OffGrid];
    assert_eq!(outcomes, [w, o, o, w, o, o, w, o, o, w, o, o, s, o]);
    assert_eq!(
        served.metric(r#"protoguard_stream_frames_total{model="hall",outcome="off_grid"}"#),
        9.0
    );
    assert_eq!(
        served.metric(r#"protoguard_stream_frames_total{model="hall",outcome="scored"}"#),
        1.0
    );
    served.stop().await;
}

#[tokio::test]
async fn a_window_begins_anew_where_frames_do_not_follow() {
    let served = Served::ready(street(), config()).await;
    let (mut camera, _) = Camera::open(&served, lossless()).await;
    let restart = async |camera: &mut Camera, at: i64, picture: Picture| {
        camera.send_at(at, Some(picture)).await;
        let answered = camera.answered().await;
        assert_eq!(answered.frame.outcome(), FrameOutcome::WarmingUp, "at {at}");
        answered.frame.restart()
    };
    assert_eq!(restart(&mut camera, 0, gray(50)).await, WindowRestart::Start);
    assert_eq!(restart(&mut camera, 301, gray(50)).await, WindowRestart::Gap);
    assert_eq!(restart(&mut camera, 100, gray(50)).await, WindowRestart::Backwards);
    let day = 86_400_000;
    assert_eq!(restart(&mut camera, day, gray(50)).await, WindowRestart::Gap);
    let wide = gray_of(50, 16, 32);
    assert_eq!(restart(&mut camera, day + 100, wide.clone()).await, WindowRestart::Size);
    for at in [200, 300, 400] {
        assert_eq!(restart(&mut camera, day + at, wide.clone()).await, WindowRestart::Size);
    }
    camera.send_at(day + 500, Some(wide.clone())).await;
    assert_eq!(camera.answered().await.frame.outcome(), FrameOutcome::Scored);
    // Time that stands still gives no frame.
    camera.send_at(day + 500, Some(wide)).await;
    assert_eq!(camera.answered().await.frame.outcome(), FrameOutcome::OffGrid);
    served.stop().await;
}

#[tokio::test]
async fn a_frame_that_cannot_be_read_fails_alone() {
    let served = Served::ready(street(), config()).await;
    let (mut camera, _) = Camera::open(&served, lossless()).await;
    camera.fill(50).await;
    // 50 megapixels of which nothing is there but the header.
    let mut png =
        Vec::from(&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x1b\x9e\0\0\x1b\x9e\x08\x02\0\0\0"[..]);
    png.extend([0; 64]);
    let bad = [
        (None, "frame.picture is absent; one of encoded, raw is expected"),
        (Some(Picture::Encoded(Vec::new().into())), "frame.encoded"),
        (Some(Picture::Encoded(png.into())), "frame.encoded"),
        (Some(gray_of(1, 0, 3)), "frame.raw.height is 0; at least 1 is expected"),
    ];
    for (picture, message) in bad {
        camera.send_at(400, picture).await;
        let frame = camera.answered().await.frame;
        assert_eq!(frame.outcome(), FrameOutcome::Failed);
        let error = frame.error.unwrap();
        assert_eq!(
            (error.code, error.reason.as_str()),
            (Code::InvalidArgument.into(), "INVALID_REQUEST")
        );
        assert!(error.message.starts_with(message), "{}", error.message);
    }
    // Its place is still free, and the window as it was.
    camera.send_at(400, Some(gray(60))).await;
    assert_eq!(camera.answered().await.frame.outcome(), FrameOutcome::Scored);
    served.stop().await;
}

#[tokio::test]
async fn an_alarm_starts_rises_and_ends_under_one_id() {
    let served = Served::ready(street(), config()).await;
    let opening = v1::StreamOpening { scene: "hall".to_owned(), ..lossless() };
    let (mut camera, opened) = Camera::open(&served, opening).await;
    camera.fill(50).await;
    // Differences of 60 levels from frame to frame for a while, then none.
    let mut events = Vec::new();
    for frame in 0..20 {
        let value = if frame < 6 && frame % 2 == 0 { 110 } else { 50 };
        let answered = camera.show(gray(value)).await;
        let alarm = answered.alarm().cloned();
        let stands = alarm.as_ref().map(|event| event.change() != AlarmChange::Ended);
        assert_eq!(stands.unwrap_or(answered.frame.alarm), answered.frame.alarm);
        events.extend(alarm);
    }
    let changes: Vec<AlarmChange> = events.iter().map(v1::AlarmEvent::change).collect();
    assert_eq!(changes, [AlarmChange::Started, AlarmChange::Ended]);
    let [started, ended] = [&events[0], &events[1]];
    assert_eq!((&started.id, started.since_us), (&ended.id, ended.since_us));
    assert_eq!(started.since_us, 500_000);
    assert_eq!((started.camera.as_str(), started.model_version.as_str()), ("door", "fake"));
    assert_eq!((started.calibration_id.as_str(), started.model.as_str()), ("hall", "hall"));
    assert_eq!(started.threshold, opened.alarm_threshold.unwrap());
    let peak = started.peak.as_ref().unwrap();
    assert!(peak.smoothed_surprise > started.threshold);
    assert!(peak.region.is_some() && !peak.parts.is_empty());
    assert!(ended.capture_time_us > 1_000_000);
    assert_eq!(served.metric(r#"protoguard_alarms_total{model="hall",scene="hall"}"#), 1.0);

    // One that stands when the caller ends is ended with it.
    let mut events = Vec::new();
    for value in [110, 50, 110] {
        events.extend(camera.show(gray(value)).await.alarm().cloned());
    }
    assert_eq!(events.len(), 1);
    let (rest, status) = camera.end().await;
    assert_eq!(status.code(), Code::Ok);
    match rest.as_slice() {
        [Message::Alarm(event)] => {
            assert_eq!((event.change(), &event.id), (AlarmChange::Ended, &events[0].id));
        }
        other => panic!("{other:?}"),
    }
    served.stop().await;
}

#[tokio::test]
async fn a_camera_is_never_waited_for_and_what_is_skipped_is_in_the_window() {
    let (factory, mut gate) = Gate::before(street());
    let served = Served::ready(factory, config()).await;
    let (mut camera, _) = Camera::open(&served, named("door")).await;
    camera.fill(50).await;
    camera.send(gray(51)).await;
    assert_eq!(gate.entered().await, [50]);
    for value in [52, 53, 54] {
        camera.send(gray(value)).await;
    }
    // The server has read them all: nothing is answered before the first is.
    while served.metric(r#"protoguard_decode_duration_seconds_count{model="hall",outcome="ok"}"#)
        < 8.0
    {
        tokio::task::yield_now().await;
    }
    gate.release();
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        outcomes.push(camera.answered().await.frame.outcome());
    }
    use FrameOutcome::{Scored, Skipped};
    assert_eq!(outcomes, [Scored, Skipped, Skipped, Skipped]);
    // The next clip begins with the last frame that was scored.
    camera.send(gray(55)).await;
    assert_eq!(gate.entered().await, [51]);
    gate.release();
    assert_eq!(camera.answered().await.frame.outcome(), Scored);
    served.stop().await;
}

#[tokio::test]
async fn a_file_is_waited_for_and_every_frame_is_scored() {
    let admission = AdmissionLimits { max_clips: 1, max_bytes: 1 << 20 };
    let served = Served::ready(street(), ServiceConfig { admission, ..config() }).await;
    let (mut camera, _) = Camera::open(&served, lossless()).await;
    camera.fill(50).await;
    let frames = 40;
    for _ in 0..frames {
        camera.send(gray(50)).await;
    }
    for frame in 0..frames {
        let answered = camera.answered().await.frame;
        assert_eq!(
            (answered.outcome(), answered.id),
            (FrameOutcome::Scored, 400 + 100 * frame as u64)
        );
    }
    served.stop().await;
}

#[tokio::test]
async fn a_camera_that_overload_leaves_no_room_for_is_skipped() {
    let (factory, mut gate) = Gate::before(street());
    let admission = AdmissionLimits { max_clips: 1, max_bytes: 1 << 20 };
    let served = Served::ready(factory, ServiceConfig { admission, ..config() }).await;
    let mut client = served.scoring().await;
    let other = tokio::spawn(async move { client.score_clip(clip(7)).await });
    assert_eq!(gate.entered().await, [7]);
    let (mut camera, _) = Camera::open(&served, named("door")).await;
    camera.fill(50).await;
    assert_eq!(camera.show(gray(50)).await.frame.outcome(), FrameOutcome::Skipped);
    gate.release();
    other.await.unwrap().unwrap();
    served.stop().await;
}

#[tokio::test]
async fn pictures_come_with_every_so_many_scores() {
    let served = Served::ready(street(), config()).await;
    let opening = v1::StreamOpening {
        outputs: vec![v1::Output::ErrorMap.into()],
        outputs_every: 3,
        image_encoding: v1::ImageEncoding::RawU8.into(),
        ..lossless()
    };
    let (mut camera, _) = Camera::open(&served, opening).await;
    camera.fill(50).await;
    let mut has = Vec::new();
    for _ in 0..7 {
        let scores = camera.show(gray(50)).await.frame.scores.unwrap();
        assert!(scores.predicted_frame.is_none());
        has.push(scores.error_map.is_some());
    }
    assert_eq!(has, [true, false, false, true, false, false, true]);
    served.stop().await;
}
