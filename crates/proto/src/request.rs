use prost::bytes::Bytes;
use protoguard_core::{CHANNELS, FrameInterval, Outputs};

use crate::model::ModelRef;
use crate::v1::{self, score_clip_request};
use crate::violation::{FieldViolation, Violations};

pub use crate::v1::{ImageEncoding, PixelFormat, TestClip};

/// A `ScoreClipRequest` whose fields agree with each other. Whether its model exists, and whether
/// its frames suit that model, is for the service to find.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipRequest {
    /// None for the server's default model.
    pub model: Option<ModelRef>,
    /// None for the calibration of all scenes.
    pub scene: Option<String>,
    /// As it came, perhaps empty.
    pub request_id: String,
    /// Where the frames come from.
    pub source: ClipSource,
    /// The view and the listed outputs together.
    pub outputs: Outputs,
    /// The listed outputs alone: a view gives what the clip and the model allow, a listed output
    /// that they do not allow is an error.
    pub listed_outputs: Outputs,
    /// Never `Unspecified`.
    pub image_encoding: ImageEncoding,
    /// Between two frames, where it is stated and the model's must be alike.
    pub frame_interval: Option<FrameInterval>,
}

/// The clip of a request, not yet decoded.
#[derive(Clone, Debug, PartialEq)]
pub enum ClipSource {
    /// Uncompressed frames.
    Raw(RawClip),
    /// JPEG or PNG, one buffer a frame.
    Encoded(Vec<Bytes>),
    /// Drawn by the server.
    Test(TestClip),
}

/// Uncompressed frames whose length agrees with their declared size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawClip {
    /// `count * height * width * channels` values of the pixel format.
    pub data: Bytes,
    /// Pixels, at least 1.
    pub height: usize,
    /// Pixels, at least 1.
    pub width: usize,
    /// Frames, at least 1.
    pub count: usize,
    /// Never `Unspecified`.
    pub pixel_format: PixelFormat,
}

impl RawClip {
    /// Bytes of one frame.
    pub fn frame_bytes(&self) -> usize {
        self.data.len() / self.count
    }
}

impl PixelFormat {
    /// Values a pixel.
    pub fn channels(self) -> usize {
        match self {
            Self::GrayU8 | Self::GrayF32 => 1,
            Self::Unspecified | Self::RgbU8 | Self::RgbF32 => CHANNELS,
        }
    }

    /// Bytes a value.
    pub fn value_bytes(self) -> usize {
        match self {
            Self::RgbF32 | Self::GrayF32 => size_of::<f32>(),
            Self::Unspecified | Self::RgbU8 | Self::GrayU8 => 1,
        }
    }
}

impl TryFrom<v1::ScoreClipRequest> for ClipRequest {
    type Error = Violations;

    fn try_from(request: v1::ScoreClipRequest) -> Result<Self, Violations> {
        let mut found = Vec::new();
        let model = keep(model(&request.model), &mut found).flatten();
        let view = keep(view(request.view), &mut found);
        let listed = keep(listed(&request.outputs), &mut found);
        let image_encoding = keep(image_encoding(request.image_encoding), &mut found);
        let interval = keep(frame_interval(request.frame_interval_ms), &mut found).flatten();
        let source = keep(source(request.clip), &mut found);
        let (Some(view), Some(listed), Some(image_encoding), Some(source), true) =
            (view, listed, image_encoding, source, found.is_empty())
        else {
            return Err(Violations(found));
        };
        Ok(Self {
            model,
            scene: (!request.scene.is_empty()).then_some(request.scene),
            request_id: request.request_id,
            source,
            outputs: Outputs {
                predicted_frame: view.predicted_frame || listed.predicted_frame,
                rgb_difference: view.rgb_difference || listed.rgb_difference,
                error_map: view.error_map || listed.error_map,
            },
            listed_outputs: listed,
            image_encoding,
            frame_interval: interval.filter(|_| !request.any_frame_interval),
        })
    }
}

/// An interval in milliseconds; none where it is 0.
pub(crate) fn frame_interval(milliseconds: f64) -> Result<Option<FrameInterval>, Violations> {
    if milliseconds == 0.0 {
        return Ok(None);
    }
    FrameInterval::try_from(milliseconds)
        .map(Some)
        .map_err(|error| FieldViolation::new("frame_interval_ms", error.to_string()).into())
}

/// Collects violations, so that one answer names them all.
pub(crate) fn keep<T>(result: Result<T, Violations>, found: &mut Vec<FieldViolation>) -> Option<T> {
    result.map_err(|violations| found.extend(violations.0)).ok()
}

pub(crate) fn model(text: &str) -> Result<Option<ModelRef>, Violations> {
    if text.is_empty() {
        return Ok(None);
    }
    ModelRef::parse(text).map(Some).ok_or_else(|| {
        let description = format!("is `{text}`; \"name\" or \"name@version\" is expected");
        FieldViolation::new("model", description).into()
    })
}

fn view(value: i32) -> Result<Outputs, Violations> {
    match v1::View::try_from(value) {
        Ok(v1::View::Unspecified | v1::View::Basic) => Ok(Outputs::NONE),
        Ok(v1::View::Full) => Ok(Outputs::ALL),
        Err(_) => Err(unknown("view", value, "VIEW_BASIC, VIEW_FULL")),
    }
}

pub(crate) fn listed(values: &[i32]) -> Result<Outputs, Violations> {
    let accepted = "OUTPUT_PREDICTED_FRAME, OUTPUT_RGB_DIFFERENCE, OUTPUT_ERROR_MAP";
    let mut outputs = Outputs::NONE;
    for (index, &value) in values.iter().enumerate() {
        match v1::Output::try_from(value) {
            Ok(v1::Output::PredictedFrame) => outputs.predicted_frame = true,
            Ok(v1::Output::RgbDifference) => outputs.rgb_difference = true,
            Ok(v1::Output::ErrorMap) => outputs.error_map = true,
            Ok(v1::Output::Unspecified) | Err(_) => {
                return Err(unknown(&format!("outputs[{index}]"), value, accepted));
            }
        }
    }
    Ok(outputs)
}

pub(crate) fn image_encoding(value: i32) -> Result<ImageEncoding, Violations> {
    match ImageEncoding::try_from(value) {
        Ok(ImageEncoding::Unspecified) => Ok(ImageEncoding::Png),
        Ok(encoding) => Ok(encoding),
        Err(_) => Err(unknown(
            "image_encoding",
            value,
            "IMAGE_ENCODING_RAW_U8, IMAGE_ENCODING_RAW_F32, IMAGE_ENCODING_PNG, \
             IMAGE_ENCODING_JPEG",
        )),
    }
}

fn source(clip: Option<score_clip_request::Clip>) -> Result<ClipSource, Violations> {
    match clip {
        Some(score_clip_request::Clip::RawFrames(raw)) => {
            raw_clip(raw, "raw_frames").map(ClipSource::Raw)
        }
        Some(score_clip_request::Clip::EncodedFrames(encoded)) => {
            Ok(ClipSource::Encoded(encoded.frames))
        }
        Some(score_clip_request::Clip::TestClip(value)) => match TestClip::try_from(value) {
            Ok(TestClip::Unspecified) | Err(_) => {
                Err(unknown("test_clip", value, "TEST_CLIP_NORMAL, TEST_CLIP_ANOMALOUS"))
            }
            Ok(test_clip) => Ok(ClipSource::Test(test_clip)),
        },
        None => Err(FieldViolation::new(
            "clip",
            "is absent; one of raw_frames, encoded_frames, test_clip is expected",
        )
        .into()),
    }
}

/// Raw frames in a field of this name.
pub(crate) fn raw_clip(raw: v1::RawFrames, field: &str) -> Result<RawClip, Violations> {
    let pixel_format = match PixelFormat::try_from(raw.pixel_format) {
        Ok(PixelFormat::Unspecified) => PixelFormat::RgbU8,
        Ok(format) => format,
        Err(_) => {
            let accepted = "PIXEL_FORMAT_RGB_U8, PIXEL_FORMAT_GRAY_U8, PIXEL_FORMAT_RGB_F32, \
                            PIXEL_FORMAT_GRAY_F32";
            return Err(unknown(&format!("{field}.pixel_format"), raw.pixel_format, accepted));
        }
    };
    let sizes = [("height", raw.height), ("width", raw.width), ("count", raw.count)];
    let empty: Vec<FieldViolation> = sizes
        .iter()
        .filter(|(_, value)| *value == 0)
        .map(|(name, _)| {
            FieldViolation::new(format!("{field}.{name}"), "is 0; at least 1 is expected")
        })
        .collect();
    if !empty.is_empty() {
        return Err(Violations(empty));
    }
    let pixel_bytes = pixel_format.channels() * pixel_format.value_bytes();
    // 2⁹⁶ times 12 fits 128 bits, so that no declared size overflows.
    let expected = [raw.count, raw.height, raw.width]
        .iter()
        .fold(pixel_bytes as u128, |product, &size| product * u128::from(size));
    if raw.data.len() as u128 != expected {
        return Err(FieldViolation::new(
            format!("{field}.data"),
            format!(
                "has {} bytes; {expected} are expected ({} frames of {}x{} pixels at \
                 {pixel_bytes} bytes)",
                raw.data.len(),
                raw.count,
                raw.height,
                raw.width
            ),
        )
        .into());
    }
    Ok(RawClip {
        data: raw.data,
        height: raw.height as usize,
        width: raw.width as usize,
        count: raw.count as usize,
        pixel_format,
    })
}

pub(crate) fn unknown(field: &str, value: i32, accepted: &str) -> Violations {
    FieldViolation::new(field, format!("is {value}; accepted are {accepted}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(height: u32, width: u32, data: usize) -> v1::ScoreClipRequest {
        v1::ScoreClipRequest {
            clip: Some(score_clip_request::Clip::RawFrames(v1::RawFrames {
                data: vec![0; data].into(),
                height,
                width,
                count: 5,
                pixel_format: 0,
            })),
            ..v1::ScoreClipRequest::default()
        }
    }

    fn message(request: v1::ScoreClipRequest) -> String {
        ClipRequest::try_from(request).unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_basic_rgb_and_png() {
        let request = ClipRequest::try_from(raw(2, 3, 5 * 2 * 3 * 3)).unwrap();
        assert_eq!(request.outputs, Outputs::NONE);
        assert_eq!(request.image_encoding, ImageEncoding::Png);
        let ClipSource::Raw(clip) = request.source else { panic!("not raw") };
        assert_eq!((clip.pixel_format, clip.frame_bytes()), (PixelFormat::RgbU8, 18));
    }

    #[test]
    fn the_view_and_the_listed_outputs_add_up() {
        let mut request = raw(1, 1, 15);
        request.outputs = vec![v1::Output::ErrorMap as i32];
        let outputs = ClipRequest::try_from(request.clone()).unwrap().outputs;
        let error_map = Outputs { error_map: true, ..Outputs::NONE };
        assert_eq!(outputs, error_map);
        request.view = v1::View::Full as i32;
        let full = ClipRequest::try_from(request).unwrap();
        assert_eq!((full.outputs, full.listed_outputs), (Outputs::ALL, error_map));
    }

    #[test]
    fn declared_sizes_are_checked_without_overflow() {
        assert_eq!(
            message(raw(65_535, 65_535, 16)),
            "raw_frames.data has 16 bytes; 64422543375 are expected (5 frames of 65535x65535 \
             pixels at 3 bytes)"
        );
        assert!(message(raw(u32::MAX, u32::MAX, 0)).contains("raw_frames.data has 0 bytes"));
        assert_eq!(message(raw(0, 4, 0)), "raw_frames.height is 0; at least 1 is expected");
    }

    #[test]
    fn every_violation_is_named_at_once() {
        let request = v1::ScoreClipRequest {
            model: "hall@".to_owned(),
            view: 77,
            image_encoding: 9,
            ..v1::ScoreClipRequest::default()
        };
        let fields: Vec<String> = ClipRequest::try_from(request)
            .unwrap_err()
            .0
            .into_iter()
            .map(|violation| violation.field)
            .collect();
        assert_eq!(fields, ["model", "view", "image_encoding", "clip"]);
    }
}
