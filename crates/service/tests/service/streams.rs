//! ScoreStream: what becomes of frames.

use protoguard_core::{CameraBounds, Corner, Frame, Look, Zone, ZoneRule, Zones};
use protoguard_proto::v1;
use protoguard_proto::v1::score_stream_request::Message as Asked;
use protoguard_proto::v1::score_stream_response::Message;
use protoguard_proto::v1::stream_frame::Picture;
use protoguard_proto::v1::{AlarmChange, FrameOutcome, WindowRestart};
use protoguard_service::testing::FakeFactory;
use protoguard_service::{AdmissionLimits, ServiceConfig};
use tonic::Code;
use tonic_types::StatusExt;

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
    let sent = async {
        for frame in 0..frames {
            let at = 400 + 100 * frame;
            let frame = v1::StreamFrame {
                id: at as u64,
                capture_time_us: 1000 * at,
                picture: Some(gray(50)),
            };
            camera_send(&camera, frame).await;
        }
    };
    sent.await;
    for frame in 0..frames {
        let answered = camera.answered().await.frame;
        assert_eq!(
            (answered.outcome(), answered.id),
            (FrameOutcome::Scored, 400 + 100 * frame as u64)
        );
    }
    served.stop().await;
}

async fn camera_send(camera: &Camera, frame: v1::StreamFrame) {
    camera.sender().send(crate::camera::asked(Asked::Frame(frame))).await.unwrap();
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

/// How the camera of [`textured`] looks.
fn bounds() -> CameraBounds {
    let mut before = None;
    let looks = (0..200).map(|at| {
        let Picture::Raw(raw) = textured(at, 1.0) else { unreachable!() };
        let frame = Frame::from_gray(16, 16, &raw.data).unwrap();
        let look = Look::of(&frame, before.as_ref());
        before = Some(frame);
        look
    });
    CameraBounds::of(&[looks.collect()]).unwrap()
}

/// A wall with a pattern in some light.
fn textured(at: usize, light: f64) -> Picture {
    let value = |index: usize| {
        let (y, x) = (index / 16, index % 16);
        let level = 60 + 8 * y + 3 * (x % 5) + (x * 7 + y * 3 + at) % 4;
        (level as f64 * light) as u8
    };
    let mut picture = gray(0);
    if let Picture::Raw(raw) = &mut picture {
        raw.data = (0..256).map(value).collect::<Vec<u8>>().into();
    }
    picture
}

#[tokio::test]
async fn a_camera_that_sees_nothing_has_no_verdict() {
    let factory = street().with_card(|card| {
        let calibration = card.calibrations[0].clone();
        card.calibrations[0] = calibration.with_camera(bounds());
    });
    let served = Served::ready(factory, config()).await;
    let (mut camera, opened) = Camera::open(&served, lossless()).await;
    assert!(opened.camera_state_watched);
    let mut outcomes = Vec::new();
    let mut states = Vec::new();
    for at in 0..24 {
        let light = if (8..16).contains(&at) { 0.0 } else { 1.0 };
        let answered = camera.show(textured(at, light)).await;
        outcomes.push(answered.frame.outcome());
        states.extend(answered.before.iter().filter_map(|message| match message {
            Message::CameraState(change) => Some((at, change.state())),
            _ => None,
        }));
        assert_eq!(
            answered.frame.camera_state(),
            states.last().map_or_else(Default::default, |it| it.1)
        );
    }
    use v1::CameraState::{Dark, Unspecified};
    assert_eq!(states, [(12, Dark), (20, Unspecified)]);
    use FrameOutcome::{NoVerdict, Scored, WarmingUp};
    let expected = [
        [WarmingUp; 4],
        [Scored; 4],
        [NoVerdict; 4],
        [NoVerdict; 4],
        [NoVerdict; 4],
        [WarmingUp; 4],
    ];
    assert_eq!(outcomes, expected.concat());
    let series = r#"protoguard_camera_states_total{model="hall",state="dark"}"#;
    assert_eq!(served.metric(series), 1.0);
    served.stop().await;
}

#[tokio::test]
async fn clips_of_a_batch_succeed_and_fail_alone() {
    let served = Served::ready(street(), config()).await;
    let mut client = served.scoring().await;
    let named = |id: &str, request: v1::ScoreClipRequest| v1::ScoreClipRequest {
        request_id: id.to_owned(),
        ..request
    };
    let other_rate = v1::ScoreClipRequest { frame_interval_ms: 40.0, ..clip(3) };
    let any_rate = v1::ScoreClipRequest { any_frame_interval: true, ..other_rate.clone() };
    let requests = vec![
        named("a", clip(1)),
        v1::ScoreClipRequest { model: "gate".to_owned(), ..clip(2) },
        named("c", other_rate),
        named("d", any_rate),
    ];
    let batch = v1::BatchScoreClipsRequest { requests };
    let results = client.batch_score_clips(batch).await.unwrap().into_inner().results;
    let shown: Vec<Result<String, (String, String)>> = results
        .into_iter()
        .map(|result| match result.result.unwrap() {
            v1::clip_result::Result::Response(response) => Ok(response.request_id),
            v1::clip_result::Result::Error(error) => Err((error.reason, error.message)),
        })
        .collect();
    assert_eq!(shown[0], Ok("a".to_owned()));
    assert_eq!(shown[1].clone().unwrap_err().0, "MODEL_NOT_FOUND");
    assert_eq!(
        shown[2].clone().unwrap_err().1,
        "frame_interval_ms is 40 ms, and model `hall` learnt frames 100 ms apart; at most a quarter \
         off is accepted, or any with any_frame_interval"
    );
    assert_eq!(shown[3], Ok("d".to_owned()));
    let empty = client.batch_score_clips(v1::BatchScoreClipsRequest::default()).await;
    assert_eq!(empty.unwrap_err().message(), "requests has 0 clips; 1 to 256 are expected");
    served.stop().await;
}

/// A zone of the upper or the lower half.
fn half(name: &str, [top, bottom]: [f64; 2], rule: ZoneRule) -> Zone {
    let corner = |[x, y]: [f64; 2]| Corner { x, y };
    let polygon = [[0.0, top], [1.0, top], [1.0, bottom], [0.0, bottom]].map(corner).to_vec();
    Zone { name: name.to_owned(), rule, polygon }
}

fn on_the_wire(zone: &Zone) -> v1::Zone {
    let corner = |&Corner { x, y }: &Corner| v1::Corner { x, y };
    let rule = match zone.rule {
        ZoneRule::Include => v1::ZoneRule::Include,
        ZoneRule::Exclude => v1::ZoneRule::Exclude,
    };
    let polygon = zone.polygon.iter().map(corner).collect();
    v1::Zone { name: zone.name.clone(), rule: rule.into(), polygon }
}

#[tokio::test]
async fn what_happens_in_an_excluded_zone_surprises_nobody() {
    let sky = half("sky", [0.0, 0.5], ZoneRule::Exclude);
    let zones = Zones::try_from(vec![sky.clone()]).unwrap();
    let factory = street().with_card(|card| {
        let calibration = card.calibrations[0].clone();
        card.calibrations[0] = calibration.with_zones(Some(zones));
    });
    let served = Served::ready(factory, config()).await;
    let opening = v1::StreamOpening { zones: vec![on_the_wire(&sky)], ..lossless() };
    let (mut camera, _) = Camera::open(&served, opening.clone()).await;
    let halves = |upper: u8, lower: u8| {
        let mut picture = gray(lower);
        if let Picture::Raw(raw) = &mut picture {
            raw.data = [[upper; 128], [lower; 128]].concat().into();
        }
        picture
    };
    camera.fill(50).await;
    let above = camera.show(halves(250, 50)).await.frame.scores.unwrap();
    // The PSNR is that of the whole frame, and the surprise of nothing.
    assert!(above.psnr_db.unwrap() < 10.0 && above.surprise.unwrap() < 0.1, "{above:?}");
    let below = camera.show(halves(250, 250)).await.frame.scores.unwrap();
    assert!(below.surprise.unwrap() > 2.0, "{below:?}");
    assert!(below.region.unwrap().top >= 0.5, "{below:?}");

    let other = half("sky", [0.0, 0.6], ZoneRule::Exclude);
    let refused = v1::StreamOpening { zones: vec![on_the_wire(&other)], ..opening };
    assert_eq!(
        Camera::refused(&served, refused).await.message(),
        "opening.zones are not those that calibration `default` was made with (sky); those, or \
         none, are expected"
    );
    served.stop().await;
}
