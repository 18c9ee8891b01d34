//! A model's planes to the pictures of a response.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use protoguard_core::{ClipScore, Plane};
use protoguard_proto::{ImageEncoding, v1};

use crate::error::ServiceError;

/// High enough that what a person looks at is the prediction and not the codec.
const JPEG_QUALITY: u8 = 90;

/// How a plane's values become 8 bits.
#[derive(Clone, Copy, Debug)]
enum Scale {
    /// `[0, 1]`.
    Unit,
    /// `[-2, 2]` as `(value + 2) / 4`.
    Difference,
    /// `[0, 1]` by its square root, which lifts small errors into sight.
    SquareRoot,
}

/// Puts the pictures that were computed into a response.
pub(crate) fn add_pictures(
    response: &mut v1::ScoreClipResponse,
    score: &ClipScore,
    encoding: ImageEncoding,
) -> Result<(), ServiceError> {
    let picture = |plane: &Plane, scale| picture(plane, scale, encoding);
    response.predicted_frame =
        score.predicted_frame.as_ref().map(|plane| picture(plane, Scale::Unit)).transpose()?;
    response.rgb_differences = score
        .rgb_difference
        .iter()
        .map(|plane| picture(plane, Scale::Difference))
        .collect::<Result<_, _>>()?;
    response.error_map =
        score.error_map.as_ref().map(|plane| picture(plane, Scale::SquareRoot)).transpose()?;
    Ok(())
}

fn picture(
    plane: &Plane,
    scale: Scale,
    encoding: ImageEncoding,
) -> Result<v1::Image, ServiceError> {
    let size =
        |value| u32::try_from(value).map_err(|_| ServiceError::Internal { step: "pictures" });
    let (height, width) = (size(plane.height)?, size(plane.width)?);
    let color = if plane.channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    let mut data = Cursor::new(Vec::new());
    let encoded =
        match encoding {
            ImageEncoding::RawF32 => {
                *data.get_mut() =
                    plane.values.iter().flat_map(|value| value.to_le_bytes()).collect();
                Ok(())
            }
            ImageEncoding::RawU8 => {
                *data.get_mut() = bytes_of(plane, scale);
                Ok(())
            }
            ImageEncoding::Jpeg => JpegEncoder::new_with_quality(&mut data, JPEG_QUALITY)
                .write_image(&bytes_of(plane, scale), width, height, color),
            ImageEncoding::Unspecified | ImageEncoding::Png => PngEncoder::new(&mut data)
                .write_image(&bytes_of(plane, scale), width, height, color),
        };
    encoded.map_err(|_| ServiceError::Internal { step: "pictures" })?;
    Ok(v1::Image {
        data: data.into_inner().into(),
        encoding: encoding.into(),
        height,
        width,
        channels: size(plane.channels)?,
    })
}

fn bytes_of(plane: &Plane, scale: Scale) -> Vec<u8> {
    let unit = |value: f32| match scale {
        Scale::Unit => value,
        Scale::Difference => (value + 2.0) / 4.0,
        Scale::SquareRoot => value.max(0.0).sqrt(),
    };
    plane.values.iter().map(|&value| (unit(value).clamp(0.0, 1.0) * 255.0).round() as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(channels: usize, values: &[f32]) -> Plane {
        Plane { height: 1, width: values.len() / channels, channels, values: values.into() }
    }

    #[test]
    fn eight_bits_follow_the_range_of_each_output() {
        let data = |scale, values: &[f32]| {
            picture(&plane(1, values), scale, ImageEncoding::RawU8).unwrap().data
        };
        assert_eq!(data(Scale::Unit, &[0.0, 0.2, 1.0, 3.0])[..], [0, 51, 255, 255]);
        assert_eq!(data(Scale::Difference, &[-2.0, 0.0, 2.0])[..], [0, 128, 255]);
        assert_eq!(data(Scale::SquareRoot, &[0.0, 0.04, 1.0])[..], [0, 51, 255]);
    }

    #[test]
    fn floats_keep_their_own_range() {
        let image = picture(&plane(1, &[-2.0, 0.5]), Scale::Difference, ImageEncoding::RawF32);
        let expected: Vec<u8> = [-2.0f32, 0.5].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(image.unwrap().data[..], expected);
    }

    #[test]
    fn png_is_lossless_and_jpeg_is_near() {
        let values: Vec<f32> = (0..24).map(|i| (i / 3) as f32 / 8.0).collect();
        let exact = bytes_of(&plane(3, &values), Scale::Unit);
        for (encoding, tolerance) in [(ImageEncoding::Png, 0), (ImageEncoding::Jpeg, 24)] {
            let image = picture(&plane(3, &values), Scale::Unit, encoding).unwrap();
            assert_eq!((image.height, image.width, image.channels), (1, 8, 3));
            let decoded = image::load_from_memory(&image.data).unwrap().into_rgb8().into_raw();
            let off = decoded.iter().zip(&exact).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(off <= tolerance, "{encoding:?} is {off} off");
        }
    }
}
