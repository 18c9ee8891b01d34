//! Decoding: every format and depth, the limits, and bytes that are wrong on purpose.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::io::Cursor;

use image::{DynamicImage, ImageBuffer, Luma, Rgba};
use proptest::prelude::*;
use protoguard_frames::{DecodeError, DecodeLimits, ImageFormat, decode};

const FORMATS: [image::ImageFormat; 3] =
    [image::ImageFormat::Jpeg, image::ImageFormat::Png, image::ImageFormat::Bmp];

fn encode(image: &DynamicImage, format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn picture() -> DynamicImage {
    ImageBuffer::from_fn(23, 17, |x, y| image::Rgb([(x * 9) as u8, (y * 12) as u8, 80])).into()
}

fn files(bytes: &[u8]) -> Result<protoguard_core::Frame, DecodeError> {
    decode(bytes, &DecodeLimits::files())
}

#[test]
fn every_format_gives_the_same_picture() {
    let expected = picture().into_rgb8().into_raw();
    for format in FORMATS {
        let frame = files(&encode(&picture(), format)).unwrap();
        assert_eq!((frame.height(), frame.width()), (17, 23), "{format:?}");
        let tolerance = if format == image::ImageFormat::Jpeg { 24 } else { 0 };
        let worst = frame.pixels().iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(tolerance), "{format:?}: {worst:?}");
    }
}

#[test]
fn gray_is_replicated_16_bits_are_scaled_and_alpha_is_dropped() {
    let gray: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_pixel(2, 1, Luma([0x8080u16]));
    let frame = files(&encode(&gray.into(), image::ImageFormat::Png)).unwrap();
    assert_eq!(frame.pixels(), [0x80; 6]);
    let clear: ImageBuffer<Rgba<u8>, _> = ImageBuffer::from_pixel(1, 1, Rgba([9, 8, 7, 0]));
    let frame = files(&encode(&clear.into(), image::ImageFormat::Png)).unwrap();
    assert_eq!(frame.pixels(), [9, 8, 7]);
}

#[test]
fn the_wire_takes_jpeg_and_png_only() {
    let error = decode(&encode(&picture(), FORMATS[2]), &DecodeLimits::default()).unwrap_err();
    assert_eq!(error.to_string(), "image is BMP; JPEG or PNG is expected");
    for head in [b"II\x2A\x00", b"MM\x00\x2A"] {
        let error = decode(head, &DecodeLimits::default()).unwrap_err();
        assert_eq!(error.to_string(), "image is TIFF; JPEG or PNG is expected");
        let error = files(head).unwrap_err();
        assert_eq!(error.to_string(), "image is TIFF; JPEG or PNG or BMP is expected");
    }
    for format in &FORMATS[..2] {
        assert!(decode(&encode(&picture(), *format), &DecodeLimits::default()).is_ok());
    }
}

/// A JPEG header that declares `side` × `side` pixels, and nothing behind it.
fn huge_jpeg(side: u16) -> Vec<u8> {
    let mut bytes = encode(&picture(), image::ImageFormat::Jpeg);
    let start = bytes.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    bytes[start + 5..start + 7].copy_from_slice(&side.to_be_bytes());
    bytes[start + 7..start + 9].copy_from_slice(&side.to_be_bytes());
    bytes
}

#[test]
fn a_declared_size_above_the_limits_is_refused() {
    let error = files(&huge_jpeg(65_535)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "image declares 65535x65535 pixels; at most 8192 a side and 40000000 in all are accepted"
    );
    let mut png = encode(&picture(), image::ImageFormat::Png);
    png[16..20].copy_from_slice(&65_535u32.to_be_bytes());
    png[20..24].copy_from_slice(&65_535u32.to_be_bytes());
    let crc = crc32fast::hash(&png[12..29]).to_be_bytes();
    png[29..33].copy_from_slice(&crc);
    assert!(matches!(files(&png), Err(DecodeError::TooLarge { height: 65_535, .. })));
    let narrow = DecodeLimits { max_pixels: 17 * 23 - 1, ..DecodeLimits::files() };
    let bytes = encode(&picture(), image::ImageFormat::Bmp);
    assert!(matches!(decode(&bytes, &narrow), Err(DecodeError::TooLarge { .. })));
}

#[test]
fn text_truncation_and_too_many_bytes_are_named() {
    let error = files(b"not a picture").unwrap_err();
    assert_eq!(
        error.to_string(),
        "image is in no known format (its bytes begin 6e 6f 74 20 61 20 70 69); JPEG or PNG or BMP is expected"
    );
    assert!(matches!(files(&[]), Err(DecodeError::UnknownFormat { .. })));
    for format in FORMATS {
        let bytes = encode(&picture(), format);
        let error = files(&bytes[..bytes.len() * 2 / 3]).unwrap_err();
        assert!(matches!(error, DecodeError::Corrupt { .. }), "{format:?}: {error}");
        assert_eq!(error.to_string().lines().count(), 1);
    }
    let limits = DecodeLimits { max_bytes: 4, ..DecodeLimits::files() };
    let error = decode(&[0; 5], &limits).unwrap_err();
    assert_eq!(error, DecodeError::TooManyBytes { found: 5, limit: 4 });
    assert_eq!(ImageFormat::sniff(&[0; 5]), None);
}

#[test]
fn behind_a_jpegs_end_anything_may_follow_but_the_start_of_a_scan() {
    let mut bytes = encode(&picture(), image::ImageFormat::Jpeg);
    let whole = files(&bytes).unwrap();
    bytes.extend([0, 0xFF, 0, 7]);
    assert_eq!(files(&bytes).unwrap(), whole);
    bytes.extend([0xFF, 0xDA, 0]);
    let error = files(&bytes).unwrap_err().to_string();
    assert_eq!(error, "JPEG image cannot be decoded: it is truncated (no end-of-image marker)");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_bytes_never_panic(
        format in 0usize..3,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..12),
        keep in any::<proptest::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = encode(&picture(), FORMATS[format]);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cut {
            bytes.truncate(keep.index(bytes.len()));
        }
        let limits = DecodeLimits { max_side: 512, max_pixels: 1 << 16, ..DecodeLimits::files() };
        if let Ok(frame) = decode(&bytes, &limits) {
            prop_assert!(frame.height().max(frame.width()) <= 512);
        }
    }
}
