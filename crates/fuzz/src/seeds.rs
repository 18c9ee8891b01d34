//! Valid inputs that the targets begin with, made on the spot.

use std::io::Cursor;

use image::{DynamicImage, GrayImage, ImageFormat, RgbImage, RgbaImage};
use prost::Message;
use protoguard_proto::v1;
use protoguard_proto::v1::score_clip_request::Clip;

/// Side of the drawn pictures in pixels: small, so that many are tried.
const SIDE: u32 = 16;

/// Encoded `ScoreClipRequest`s of every kind.
pub fn requests() -> Vec<Vec<u8>> {
    let formats = [
        (v1::PixelFormat::RgbU8, 3),
        (v1::PixelFormat::GrayU8, 1),
        (v1::PixelFormat::RgbF32, 12),
        (v1::PixelFormat::GrayF32, 4),
    ];
    let raw = formats.into_iter().map(|(format, pixel_bytes)| raw_frames(format, pixel_bytes));
    let encoded = images().into_iter().map(|image| {
        let frames = vec![image.into(); 5];
        Clip::EncodedFrames(v1::EncodedFrames { frames })
    });
    let drawn = [1, 2].map(Clip::TestClip);
    raw.chain(encoded).chain(drawn).enumerate().map(|(i, clip)| request(i, clip)).collect()
}

fn raw_frames(format: v1::PixelFormat, pixel_bytes: u32) -> Clip {
    let side = 4;
    Clip::RawFrames(v1::RawFrames {
        data: vec![0; (5 * side * side * pixel_bytes) as usize].into(),
        height: side,
        width: side,
        count: 5,
        pixel_format: format.into(),
    })
}

fn request(index: usize, clip: Clip) -> Vec<u8> {
    v1::ScoreClipRequest {
        model: "hall@fake".to_owned(),
        scene: "hall".to_owned(),
        request_id: index.to_string(),
        view: (index % 3) as i32,
        outputs: vec![1, 2, 3],
        image_encoding: (index % 5) as i32,
        frame_interval_ms: 100.0,
        any_frame_interval: index.is_multiple_of(2),
        clip: Some(clip),
    }
    .encode_to_vec()
}

/// Pictures of every accepted kind.
pub fn images() -> Vec<Vec<u8>> {
    let texture = |x: u32, y: u32| ((x * 31 + y * 17) % 256) as u8;
    let rgb = RgbImage::from_fn(SIDE, SIDE, |x, y| image::Rgb([texture(x, y), texture(y, x), 9]));
    let gray = GrayImage::from_fn(SIDE, SIDE, |x, y| image::Luma([texture(x, y)]));
    let rgba = RgbaImage::from_pixel(SIDE, SIDE, image::Rgba([1, 2, 3, 128]));
    let rgb = DynamicImage::ImageRgb8(rgb);
    let deep = DynamicImage::ImageRgb16(rgb.to_rgb16());
    let gray = DynamicImage::ImageLuma8(gray);
    [
        (&rgb, ImageFormat::Jpeg),
        (&gray, ImageFormat::Jpeg),
        (&rgb, ImageFormat::Png),
        (&gray, ImageFormat::Png),
        (&deep, ImageFormat::Png),
        (&DynamicImage::ImageRgba8(rgba), ImageFormat::Png),
        (&rgb, ImageFormat::Bmp),
    ]
    .into_iter()
    .map(|(image, format)| encode(image, format))
    .collect()
}

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("every encoder takes these pictures");
    bytes.into_inner()
}
