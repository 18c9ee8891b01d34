//! A request's bytes to a clip of the model's shape.

use protoguard_core::{Clip, ClipShape, Frame, FrameError};
use protoguard_frames::scenes::test_clip;
use protoguard_frames::{DecodeLimits, decode, resize};
use protoguard_proto::{
    Bytes, ClipSource, FieldViolation, Picture, PixelFormat, RawClip, TestClip, Violations,
};
use rayon::prelude::*;

/// What decoding needs to know of the model and the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecodeTarget {
    pub(crate) shape: ClipShape,
    pub(crate) limits: DecodeLimits,
}

impl DecodeTarget {
    /// Checks the number of frames, which needs no decoding.
    pub(crate) fn check_count(&self, source: &ClipSource) -> Result<(), Violations> {
        let (field, found) = match source {
            ClipSource::Raw(raw) => ("raw_frames.count", raw.count),
            ClipSource::Encoded(frames) => ("encoded_frames.frames", frames.len()),
            ClipSource::Test(_) => return Ok(()),
        };
        let past_frames = self.shape.past_frames();
        if found == past_frames || found == self.shape.frames() {
            return Ok(());
        }
        let description = format!(
            "has {found} frames; {} are expected (or {past_frames} without a target)",
            self.shape.frames()
        );
        Err(FieldViolation::new(field, description).into())
    }

    /// Whether the clip will have a target to compare the prediction with.
    pub(crate) fn has_target(&self, source: &ClipSource) -> bool {
        match source {
            ClipSource::Raw(raw) => raw.count > self.shape.past_frames(),
            ClipSource::Encoded(frames) => frames.len() > self.shape.past_frames(),
            ClipSource::Test(_) => true,
        }
    }

    /// Bytes that the request and its clip will hold until the answer. A full-size frame between
    /// the two lives on a decoding thread only, and there are as many of those as cores.
    pub(crate) fn bytes(&self, source: &ClipSource) -> usize {
        let source = match source {
            ClipSource::Raw(raw) => raw.data.len(),
            ClipSource::Encoded(frames) => frames.iter().map(Bytes::len).sum(),
            ClipSource::Test(_) => 0,
        };
        source + self.shape.clip_bytes()
    }

    /// Decodes and resizes, the frames of a clip in parallel.
    pub(crate) fn clip(&self, source: &ClipSource) -> Result<Clip, Violations> {
        let frames = match source {
            ClipSource::Raw(raw) => self.raw(raw)?,
            ClipSource::Encoded(frames) => self.encoded(frames)?,
            ClipSource::Test(kind) => {
                return Ok(test_clip(self.shape, *kind == TestClip::Anomalous));
            }
        };
        Clip::new(self.shape, frames)
            .map_err(|error| FieldViolation::new("clip", error.to_string()).into())
    }

    /// Decodes and resizes one picture of a stream.
    pub(crate) fn picture(&self, picture: &Picture) -> Result<SizedFrame, Violations> {
        let (field, frame) = match picture {
            Picture::Encoded(bytes) => {
                let decoded = decode(bytes, &self.limits).map_err(|error| error.to_string());
                ("frame.encoded", decoded)
            }
            Picture::Raw(raw) => {
                self.check_size(raw, "frame.raw")?;
                ("frame.raw.data", raw_frame(raw, &raw.data))
            }
        };
        let frame = frame.map_err(|description| FieldViolation::new(field, description))?;
        Ok(self.sized(&frame))
    }

    fn sized(&self, frame: &Frame) -> SizedFrame {
        let (height, width) = (frame.height(), frame.width());
        SizedFrame { height, width, resized: resize(frame, self.shape.side()) }
    }

    fn check_size(&self, raw: &RawClip, field: &str) -> Result<(), FieldViolation> {
        self.limits.check_size(raw.height, raw.width).map_err(|error| {
            let side = if raw.height >= raw.width { "height" } else { "width" };
            FieldViolation::new(format!("{field}.{side}"), format!("is too large: {error}"))
        })
    }

    fn raw(&self, raw: &RawClip) -> Result<Vec<Frame>, Violations> {
        self.check_size(raw, "raw_frames")?;
        let frames: Vec<&[u8]> = raw.data.chunks_exact(raw.frame_bytes()).collect();
        collect(frames.par_iter().enumerate().map(|(index, bytes)| {
            let frame = raw_frame(raw, bytes).map_err(|description| {
                FieldViolation::new("raw_frames.data", format!("frame {index} {description}"))
            })?;
            Ok(resize(&frame, self.shape.side()))
        }))
    }

    fn encoded(&self, frames: &[Bytes]) -> Result<Vec<Frame>, Violations> {
        let field = |index: usize| format!("encoded_frames.frames[{index}]");
        let sized = collect(frames.par_iter().enumerate().map(|(index, bytes)| {
            let frame = decode(bytes, &self.limits)
                .map_err(|error| FieldViolation::new(field(index), error.to_string()))?;
            Ok(self.sized(&frame))
        }))?;
        let odd: Vec<FieldViolation> = sized
            .iter()
            .enumerate()
            .filter(|(_, frame)| (frame.height, frame.width) != (sized[0].height, sized[0].width))
            .map(|(index, frame)| {
                let description = format!(
                    "is {}x{} pixels; {}x{} is expected, as frames[0] is",
                    frame.height, frame.width, sized[0].height, sized[0].width
                );
                FieldViolation::new(field(index), description)
            })
            .collect();
        if !odd.is_empty() {
            return Err(Violations(odd));
        }
        Ok(sized.into_iter().map(|frame| frame.resized).collect())
    }
}

/// A frame at the model's side, and the size that it came in.
pub(crate) struct SizedFrame {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) resized: Frame,
}

/// All frames, or all violations.
fn collect<T: Send>(
    frames: impl IndexedParallelIterator<Item = Result<T, FieldViolation>>,
) -> Result<Vec<T>, Violations> {
    let mut decoded = Vec::new();
    frames.collect_into_vec(&mut decoded);
    let mut found = Vec::new();
    let good: Vec<T> =
        decoded.into_iter().filter_map(|frame| frame.map_err(|bad| found.push(bad)).ok()).collect();
    if found.is_empty() { Ok(good) } else { Err(Violations(found)) }
}

fn raw_frame(raw: &RawClip, bytes: &[u8]) -> Result<Frame, String> {
    let rgb = |pixels: Vec<u8>| Frame::new(raw.height, raw.width, pixels);
    let gray = |pixels: &[u8]| Frame::from_gray(raw.height, raw.width, pixels);
    let frame: Result<Frame, FrameError> = match raw.pixel_format {
        PixelFormat::Unspecified | PixelFormat::RgbU8 => rgb(bytes.to_vec()),
        PixelFormat::GrayU8 => gray(bytes),
        PixelFormat::RgbF32 => rgb(quantised(bytes)?),
        PixelFormat::GrayF32 => gray(&quantised(bytes)?),
    };
    frame.map_err(|error| error.to_string())
}

/// Floats in [0, 1] as the 8 bits that training sees.
fn quantised(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let (values, _) = bytes.as_chunks::<4>();
    let quantise = |(index, value): (usize, &[u8; 4])| {
        let value = f32::from_le_bytes(*value);
        if (0.0..=1.0).contains(&value) {
            Ok((value * 255.0).round() as u8)
        } else {
            Err(format!("has value {value} at position {index}; floats in [0, 1] are expected"))
        }
    };
    values.iter().enumerate().map(quantise).collect()
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageFormat, RgbImage};

    use super::*;

    fn target() -> DecodeTarget {
        DecodeTarget { shape: ClipShape::new(4, 16).unwrap(), limits: DecodeLimits::default() }
    }

    fn png(height: u32, width: u32) -> Bytes {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let image = RgbImage::from_pixel(width, height, image::Rgb([10, 20, 30]));
        DynamicImage::ImageRgb8(image).write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner().into()
    }

    fn raw(pixel_format: PixelFormat, data: Vec<u8>) -> ClipSource {
        ClipSource::Raw(RawClip {
            data: data.into(),
            height: 16,
            width: 16,
            count: 5,
            pixel_format,
        })
    }

    fn floats(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
        values.into_iter().flat_map(f32::to_le_bytes).collect()
    }

    #[test]
    fn every_pixel_format_of_the_same_picture_is_the_same_clip() {
        let n = 5 * 16 * 16;
        let clips = [
            raw(PixelFormat::RgbU8, vec![51; n * 3]),
            raw(PixelFormat::GrayU8, vec![51; n]),
            raw(PixelFormat::RgbF32, floats(vec![0.2; n * 3])),
            raw(PixelFormat::GrayF32, floats(vec![0.2; n])),
        ]
        .map(|source| target().clip(&source).unwrap());
        assert!(clips.iter().all(|clip| *clip == clips[0]));
    }

    #[test]
    fn what_is_no_number_in_range_is_named() {
        for (value, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (1.5, "1.5")] {
            let mut values = vec![0.5; 5 * 16 * 16];
            values[16 * 16 + 3] = value;
            let error = target().clip(&raw(PixelFormat::GrayF32, floats(values))).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "raw_frames.data frame 1 has value {word} at position 3; floats in [0, 1] are \
                     expected"
                )
            );
        }
    }

    #[test]
    fn every_bad_picture_is_named() {
        let mut frames = vec![png(20, 30); 5];
        frames[1] = Bytes::from_static(b"no picture");
        frames[3] = frames[3].slice(..40);
        let violations = target().clip(&ClipSource::Encoded(frames)).unwrap_err();
        let fields: Vec<&str> = violations.0.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["encoded_frames.frames[1]", "encoded_frames.frames[3]"]);
    }

    #[test]
    fn frames_of_a_clip_have_one_size() {
        let mut frames = vec![png(20, 30); 5];
        frames[2] = png(30, 20);
        let message = target().clip(&ClipSource::Encoded(frames)).unwrap_err().to_string();
        assert_eq!(
            message,
            "encoded_frames.frames[2] is 30x20 pixels; 20x30 is expected, as frames[0] is"
        );
    }

    #[test]
    fn a_wrong_count_is_found_before_decoding() {
        let source = ClipSource::Encoded(vec![Bytes::new(); 3]);
        let message = target().check_count(&source).unwrap_err().to_string();
        let expected = "encoded_frames.frames has 3 frames; 5 are expected (or 4 without a target)";
        assert_eq!(message, expected);
    }

    #[test]
    fn a_frame_beyond_the_limits_is_refused() {
        let mut small = target();
        small.limits.max_side = 15;
        let message =
            small.clip(&raw(PixelFormat::GrayU8, vec![0; 5 * 256])).unwrap_err().to_string();
        assert!(message.starts_with("raw_frames.height is too large"), "{message}");
    }
}
