//! TIFF: the same picture as in any other format, within the same limits, whatever the bytes.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::io::Cursor;

use image::{DynamicImage, ImageBuffer, Luma};
use proptest::prelude::*;
use protoguard_core::Frame;
use protoguard_datasets::dataset_limits;
use protoguard_frames::{DecodeError, DecodeLimits, Size, decode, size_of};

fn encode(image: &DynamicImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Tiff).unwrap();
    bytes.into_inner()
}

fn picture() -> DynamicImage {
    ImageBuffer::from_fn(23, 17, |x, y| image::Rgb([(x * 9) as u8, (y * 12) as u8, 80])).into()
}

fn read(bytes: &[u8]) -> Result<Frame, DecodeError> {
    decode(bytes, &dataset_limits())
}

#[test]
fn it_gives_the_picture_that_was_encoded() {
    let frame = read(&encode(&picture())).unwrap();
    assert_eq!((frame.height(), frame.width()), (17, 23));
    assert_eq!(frame.pixels(), picture().into_rgb8().into_raw());
    let declared = size_of(Cursor::new(encode(&picture())), &dataset_limits()).unwrap();
    assert_eq!(declared.size, Size { height: 17, width: 23 });
    let gray: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_pixel(2, 1, Luma([0x8080u16]));
    assert_eq!(read(&encode(&gray.into())).unwrap().pixels(), [0x80; 6]);
}

#[test]
fn too_large_and_truncated_ones_are_refused() {
    let narrow = DecodeLimits { max_pixels: 17 * 23 - 1, ..dataset_limits() };
    let error = decode(&encode(&picture()), &narrow).unwrap_err();
    assert!(matches!(error, DecodeError::TooLarge { height: 17, width: 23, .. }), "{error}");
    let bytes = encode(&picture());
    let error = read(&bytes[..bytes.len() * 2 / 3]).unwrap_err();
    assert!(matches!(error, DecodeError::Corrupt { .. }), "{error}");
    assert_eq!(error.to_string().lines().count(), 1);
    let error = read(b"not a picture").unwrap_err().to_string();
    assert!(error.ends_with("JPEG or PNG or BMP or TIFF is expected"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn damaged_bytes_never_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..12),
        keep in any::<proptest::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = encode(&picture());
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cut {
            bytes.truncate(keep.index(bytes.len()));
        }
        let limits = DecodeLimits { max_side: 512, max_pixels: 1 << 16, ..dataset_limits() };
        if let Ok(frame) = decode(&bytes, &limits) {
            prop_assert!(frame.height().max(frame.width()) <= 512);
        }
    }
}
