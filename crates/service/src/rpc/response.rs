//! From a clip's scores to its response: what a person asked, is this normal, and the pictures.

use std::io::Cursor;
use std::time::Duration;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use protoguard_core::normalise::FrameScore;
use protoguard_core::{
    Calibration, ClipScore, ClipSurprise, Detector, ModelCard, Plane, Region, Statistics, Zones,
};
use protoguard_proto::{ImageEncoding, scores_to_wire, surprise_to_wire, v1};

use crate::error::ServiceError;
use crate::metrics::ModelMetrics;
use crate::queue::job::Scored;

/// High enough that what a person looks at is the prediction and not the codec.
const JPEG_QUALITY: u8 = 90;

/// The scores as they are, of which model, and what its way through the service took.
pub(super) fn response_of(
    card: &ModelCard,
    scored: &Scored,
    decode: Duration,
) -> v1::ScoreClipResponse {
    let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    v1::ScoreClipResponse {
        model: card.name.clone(),
        model_version: card.version.clone(),
        timings: Some(v1::Timings {
            queue_us: us(scored.queue),
            decode_us: us(decode),
            compute_us: us(scored.compute),
            batch_size: u32::try_from(scored.batch_size).unwrap_or(u32::MAX),
        }),
        ..scores_to_wire(&scored.score)
    }
}

/// Whether there is a picture to encode.
pub(super) fn has_pictures(score: &ClipScore) -> bool {
    score.predicted_frame.is_some() || score.error_map.is_some() || !score.rgb_difference.is_empty()
}

/// The calibration for a request's scene; none where the model has none for all scenes.
pub(super) fn calibration_for<'a>(
    card: &'a ModelCard,
    scene: Option<&str>,
) -> Result<Option<&'a Calibration>, ServiceError> {
    match (card.calibration(scene), scene) {
        (None, Some(asked)) => Err(ServiceError::UnknownScene {
            asked: asked.to_owned(),
            model: card.name.clone(),
            known: card.scenes().map(str::to_owned).collect(),
        }),
        (found, _) => Ok(found),
    }
}

/// Puts regularity, surprise and decision into a response, where there is a target and a
/// calibration. The decision rests on the surprise where the calibration has a detector; that is
/// given back as well.
pub(super) fn add_verdict(
    response: &mut v1::ScoreClipResponse,
    score: &ClipScore,
    calibration: Option<&Calibration>,
    false_alarm_rate: f64,
) -> Option<ClipSurprise> {
    let (psnr, calibration) = score.psnr.zip(calibration)?;
    let raw = FrameScore { psnr, feature_distance: score.feature_distance };
    let regularity = calibration.regularity(&raw);
    response.regularity = Some(regularity.0);
    response.calibration_id = calibration.id.clone();
    if let Some(threshold) = calibration.threshold(false_alarm_rate) {
        response.anomalous = Some(regularity < threshold.regularity);
        response.regularity_threshold = Some(threshold.regularity.0);
        response.false_alarm_rate = Some(threshold.false_alarm_rate);
    }
    let (detector, maps) = calibration.detector.as_ref().zip(score.maps.as_ref())?;
    let maps = Zones::weighed(calibration.zones.as_ref(), maps);
    if calibration.zones.is_some() {
        response.region = Some(Region::of(&maps).into());
    }
    let found = detector.judge(&Statistics::of(&maps));
    surprise_to_wire(response, &found);
    let threshold = Detector::threshold(false_alarm_rate);
    response.anomalous = Some(found.surprise > threshold);
    response.surprise_threshold = Some(threshold);
    response.false_alarm_rate = Some(false_alarm_rate);
    Some(found)
}

/// Counts what was said of a clip.
pub(super) fn count_verdict(response: &v1::ScoreClipResponse, metrics: &ModelMetrics, scene: &str) {
    if let Some(regularity) = response.regularity {
        metrics.regularity(scene, regularity);
    }
    if let Some(surprise) = response.surprise {
        metrics.surprise(scene, surprise);
    }
}

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
pub(super) fn add_pictures(
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
    let height = size(plane.height)?;
    let width = size(plane.width)?;
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
    use protoguard_core::{ClipMaps, FeatureDistance, PsnrDb, ScorerFactory, Threshold};

    use super::*;
    use crate::testing::{FakeFactory, detector};

    fn is_anomalous(score: &ClipScore, calibration: &Calibration, rate: f64) -> bool {
        let mut response = v1::ScoreClipResponse::default();
        add_verdict(&mut response, score, Some(calibration), rate);
        response.anomalous.unwrap()
    }

    #[test]
    fn a_frame_on_its_threshold_is_not_yet_anomalous() {
        let mut calibration = FakeFactory::new("hall").card().calibrations[0].clone();
        let psnr = PsnrDb(30.0);
        let distance = Some(FeatureDistance(0.5));
        let raw = FrameScore { psnr, feature_distance: distance };
        let regularity = calibration.regularity(&raw);
        calibration.thresholds = vec![Threshold { false_alarm_rate: 0.01, regularity }];
        let score =
            ClipScore { psnr: Some(psnr), feature_distance: distance, ..ClipScore::default() };
        assert!(!is_anomalous(&score, &calibration, 0.01));
        calibration.thresholds[0].regularity.0 += 1e-9;
        assert!(is_anomalous(&score, &calibration, 0.01));
        // No frame surprises less than one without any error, and all do as much.
        let plane = Plane { height: 1, width: 1, channels: 1, values: [0.0].into() };
        let maps = ClipMaps {
            error: plane.clone(),
            moved: plane.clone(),
            speed: plane,
            feature_distance: None,
        };
        let score = ClipScore { maps: Some(maps), ..score };
        calibration.detector = Some(detector());
        assert!(!is_anomalous(&score, &calibration, 1.0));
        assert!(!is_anomalous(&score, &calibration, 0.1));
    }

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
