//! Clips that cannot be scored are refused by field, and harm nobody.

use protoguard_proto::v1::score_clip_request::Clip;
use protoguard_proto::v1::{PixelFormat, RawFrames, ScoreClipRequest};
use tonic::Code;
use tonic_types::StatusExt;

use crate::clips::{CLIP, encoded, files, from_files, of, raw};
use crate::server::Server;
use crate::trained::{Trained, trained};

/// A request, the field that must be named, and words of what is wrong with it.
struct Case {
    request: ScoreClipRequest,
    field: &'static str,
    words: &'static str,
}

#[tokio::test]
async fn every_broken_clip_is_refused_by_its_field() {
    let trained = trained().await;
    let server = Server::start(&trained.checkpoint).await;
    let mut client = server.scoring().await;
    for Case { request, field, words } in cases(trained) {
        let refused = client.score_clip(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}: {refused:?}");
        assert!(!refused.message().contains('\n'), "{refused:?}");
        let details = refused.get_details_bad_request().unwrap();
        let violation = &details.field_violations[0];
        assert_eq!(violation.field, field, "{violation:?}");
        assert!(violation.description.contains(words), "{violation:?}");
        assert_eq!(refused.get_details_error_info().unwrap().domain, "protoguard");
    }
    // The server is as it was.
    client.score_clip(encoded(trained, 0)).await.unwrap();
}

fn cases(trained: &Trained) -> Vec<Case> {
    let case = |request, field, words| Case { request, field, words };
    let with_file = |index: usize, bytes: Vec<u8>| {
        let mut files = files(trained, 0);
        files[index] = bytes;
        from_files(files)
    };
    let mut truncated = files(trained, 0)[1].clone();
    truncated.truncate(truncated.len() / 2);
    vec![
        case(ScoreClipRequest::default(), "clip", "is expected"),
        case(from_files(files(trained, 0)[..3].to_vec()), "encoded_frames.frames", "3"),
        case(of(Clip::RawFrames(three_frames(trained))), "raw_frames.count", "3"),
        case(of(Clip::RawFrames(with_nan())), "raw_frames.data", "NaN"),
        case(of(Clip::RawFrames(declared_huge())), "raw_frames.data", "65535x65535"),
        case(with_file(2, huge_png()), "encoded_frames.frames[2]", "65535x65535"),
        case(with_file(1, truncated), "encoded_frames.frames[1]", "JPEG"),
        case(with_file(4, b"not a picture".to_vec()), "encoded_frames.frames[4]", "JPEG or PNG"),
    ]
}

fn three_frames(trained: &Trained) -> RawFrames {
    let mut frames = raw(trained, 0);
    frames.data = frames.data.slice(..frames.data.len() / CLIP * 3);
    frames.count = 3;
    frames
}

fn with_nan() -> RawFrames {
    let mut values = vec![0.5f32; CLIP * 32 * 32];
    values[777] = f32::NAN;
    RawFrames {
        data: values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>().into(),
        height: 32,
        width: 32,
        count: CLIP as u32,
        pixel_format: PixelFormat::GrayF32.into(),
    }
}

fn declared_huge() -> RawFrames {
    let (height, width) = (65_535, 65_535);
    RawFrames { data: vec![0; 64].into(), height, width, count: 5, ..Default::default() }
}

/// A PNG whose header, correct in itself, declares 65 535 × 65 535 pixels.
fn huge_png() -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |name: &[u8; 4], content: &[u8]| {
        png.extend((content.len() as u32).to_be_bytes());
        let checked = [name, content].concat();
        png.extend(&checked);
        png.extend(crc32fast::hash(&checked).to_be_bytes());
    };
    let size = 65_535u32.to_be_bytes();
    // Eight bits a channel, RGB, no interlacing.
    chunk(b"IHDR", &[&size[..], &size[..], &[8, 2, 0, 0, 0]].concat());
    chunk(b"IDAT", &[0x78, 0x9c, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01]);
    chunk(b"IEND", &[]);
    png
}

#[tokio::test]
async fn what_does_not_exist_is_answered_with_what_does() {
    let trained = trained().await;
    let server = Server::start(&trained.checkpoint).await;
    let mut client = server.scoring().await;
    let name = server.client().await.model("").await.unwrap().name;
    let mut request = encoded(trained, 0);
    request.model = "nobody".to_owned();
    let status = client.score_clip(request).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains("nobody") && status.message().contains(&name), "{status:?}");
    let mut request = encoded(trained, 0);
    request.scene = "nowhere".to_owned();
    let status = client.score_clip(request).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains("nowhere"), "{status:?}");
}

#[tokio::test]
async fn a_message_above_the_limit_is_told_the_limit() {
    let trained = trained().await;
    let server = Server::start(&trained.checkpoint).await;
    let mut client = server.scoring().await;
    let data = vec![0; 65 << 20].into();
    let request = of(Clip::RawFrames(RawFrames { data, ..Default::default() }));
    let refused = client.score_clip(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(refused.message().contains("67108864"), "{refused:?}");
    client.score_clip(encoded(trained, 0)).await.unwrap();
}
