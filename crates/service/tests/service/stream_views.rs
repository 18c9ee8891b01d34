//! ScoreStream: what the camera shows, and where in the picture it matters.

use protoguard_core::{CameraBounds, Corner, Frame, Look, Zone, ZoneRule, Zones};
use protoguard_proto::v1;
use protoguard_proto::v1::FrameOutcome;
use protoguard_proto::v1::score_stream_response::Message;
use protoguard_proto::v1::stream_frame::Picture;

use crate::bench::{Served, config};
use crate::camera::{Camera, gray, lossless, street};

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

/// A zone of the upper or the lower half.
fn half(name: &str, [top, bottom]: [f64; 2], rule: ZoneRule) -> Zone {
    let corner = |[x, y]: [f64; 2]| Corner { x, y };
    let polygon = [[0.0, top], [1.0, top], [1.0, bottom], [0.0, bottom]].map(corner).to_vec();
    Zone { name: name.to_owned(), rule, polygon }
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
    let opening = v1::StreamOpening { zones: vec![v1::Zone::from(&sky)], ..lossless() };
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
    let refused = v1::StreamOpening { zones: vec![v1::Zone::from(&other)], ..opening };
    assert_eq!(
        Camera::refused(&served, refused).await.message(),
        "opening.zones are not those that calibration `default` was made with (sky); those, or \
         none, are expected"
    );
    served.stop().await;
}
