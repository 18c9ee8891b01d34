//! What a stream's messages may say.

use prost::bytes::Bytes;
use protoguard_core::{AlarmRule, CaptureTime, FrameInterval, Outputs, Zones};

use crate::model::ModelRef;
use crate::request::{
    ImageEncoding, RawClip, frame_interval, image_encoding, keep, listed, model, raw_clip, unknown,
};
use crate::v1::{self, stream_frame};
use crate::violation::{FieldViolation, Violations};
use crate::zones::zones_from_wire;

/// Bytes of a camera's name, at most.
const CAMERA_BYTES: usize = 256;
/// Scored frames among which an alarm counts unusual ones, at most.
const AMONG: u32 = 1000;
/// Scored frames that an alarm holds or cools down, at most.
const LONGEST: u32 = 100_000;

/// A `StreamOpening` whose fields agree with each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// None for the server's default model.
    pub model: Option<ModelRef>,
    /// None for the calibration of all scenes.
    pub scene: Option<String>,
    /// The caller's name for the camera.
    pub camera: String,
    /// What happens to frames for which there is no time.
    pub mode: StreamMode,
    /// Pictures that come with scores.
    pub outputs: Outputs,
    /// They come with every so many scored frames, at least 1.
    pub outputs_every: u32,
    /// Never `Unspecified`.
    pub image_encoding: ImageEncoding,
    /// When an alarm is raised and when it ends.
    pub alarm: AlarmOptions,
    /// Between two frames of the camera, where that is known.
    pub frame_interval: Option<FrameInterval>,
    /// Of a stream before; empty without one.
    pub resume_token: Bytes,
    /// Where in the picture it matters, where that is stated.
    pub zones: Option<Zones>,
}

/// What happens to frames for which there is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamMode {
    /// They are not scored.
    Live,
    /// There are none: the caller waits.
    Lossless,
}

/// An alarm's rule but for its threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlarmOptions {
    /// How often normal video may raise it, above 0; the server's choice where absent.
    pub false_alarms_an_hour: Option<f64>,
    /// A rule whose thresholds say nothing.
    shape: AlarmRule,
}

impl AlarmOptions {
    /// The rule above a threshold.
    pub fn above(&self, threshold: f64) -> AlarmRule {
        AlarmRule { threshold, clear: threshold, ..self.shape }
    }
}

/// A `StreamFrame` whose fields agree with each other; its picture is not decoded yet.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamFrame {
    /// The caller's.
    pub id: u64,
    /// When it was taken.
    pub at: CaptureTime,
    /// What is to be seen.
    pub picture: Picture,
}

/// One frame's bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Picture {
    /// Uncompressed: a clip of one frame.
    Raw(RawClip),
    /// JPEG or PNG.
    Encoded(Bytes),
}

impl Picture {
    /// Bytes that it has.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Raw(raw) => raw.data.len(),
            Self::Encoded(encoded) => encoded.len(),
        }
    }
}

impl TryFrom<v1::StreamOpening> for Opening {
    type Error = Violations;

    fn try_from(opening: v1::StreamOpening) -> Result<Self, Violations> {
        let mut found = Vec::new();
        let model = keep(model(&opening.model), &mut found).flatten();
        let mode = keep(mode(opening.mode), &mut found);
        let outputs = keep(listed(&opening.outputs), &mut found);
        let image_encoding = keep(image_encoding(opening.image_encoding), &mut found);
        let alarm = keep(alarm(opening.alarm.unwrap_or_default()), &mut found);
        let interval = keep(frame_interval(opening.frame_interval_ms), &mut found).flatten();
        let zones = keep(zones_from_wire(opening.zones), &mut found).flatten();
        if opening.camera.len() > CAMERA_BYTES {
            let description =
                format!("has {} bytes; at most {CAMERA_BYTES} are expected", opening.camera.len());
            found.push(FieldViolation::new("camera", description));
        }
        let (Some(mode), Some(outputs), Some(image_encoding), Some(alarm), true) =
            (mode, outputs, image_encoding, alarm, found.is_empty())
        else {
            return Err(Violations(found).within("opening"));
        };
        Ok(Self {
            model,
            scene: (!opening.scene.is_empty()).then_some(opening.scene),
            camera: opening.camera,
            mode,
            outputs,
            outputs_every: opening.outputs_every.max(1),
            image_encoding,
            alarm,
            frame_interval: interval,
            resume_token: opening.resume_token,
            zones,
        })
    }
}

fn mode(value: i32) -> Result<StreamMode, Violations> {
    match v1::StreamMode::try_from(value) {
        Ok(v1::StreamMode::Unspecified | v1::StreamMode::Live) => Ok(StreamMode::Live),
        Ok(v1::StreamMode::Lossless) => Ok(StreamMode::Lossless),
        Err(_) => Err(unknown("mode", value, "STREAM_MODE_LIVE, STREAM_MODE_LOSSLESS")),
    }
}

fn alarm(options: v1::AlarmOptions) -> Result<AlarmOptions, Violations> {
    let mut found = Vec::new();
    let usual = AlarmRule::above(0.0);
    let mut count = |field: &str, value: u32, least: u32, most: u32| {
        if !(least..=most).contains(&value) {
            let description = format!("is {value}; {least} to {most} is expected");
            found.push(FieldViolation::new(format!("alarm.{field}"), description));
        }
        value as usize
    };
    let or = |value: u32, usual: usize| if value == 0 { usual as u32 } else { value };
    let among = count("among_frames", or(options.among_frames, usual.among), 1, AMONG);
    let unusual =
        count("unusual_frames", or(options.unusual_frames, usual.unusual), 1, among as u32);
    let hold = count("hold_frames", options.hold_frames.unwrap_or(usual.hold as u32), 0, LONGEST);
    let cool_down = options.cool_down_frames.unwrap_or(usual.cool_down as u32);
    let cool_down = count("cool_down_frames", cool_down, 0, LONGEST);
    let rate = options.false_alarms_an_hour;
    if !(rate >= 0.0 && rate.is_finite()) {
        let description = format!("is {rate}; a number above 0 is expected");
        found.push(FieldViolation::new("alarm.false_alarms_an_hour", description));
    }
    if !found.is_empty() {
        return Err(Violations(found));
    }
    Ok(AlarmOptions {
        false_alarms_an_hour: (rate > 0.0).then_some(rate),
        shape: AlarmRule { unusual, among, hold, cool_down, ..usual },
    })
}

impl TryFrom<v1::StreamFrame> for StreamFrame {
    type Error = Violations;

    fn try_from(frame: v1::StreamFrame) -> Result<Self, Violations> {
        let picture = match frame.picture {
            Some(stream_frame::Picture::Encoded(encoded)) => Picture::Encoded(encoded),
            Some(stream_frame::Picture::Raw(raw)) => {
                let v1::RawFrame { data, height, width, pixel_format } = raw;
                let raw = v1::RawFrames { data, height, width, count: 1, pixel_format };
                Picture::Raw(raw_clip(raw, "frame.raw")?)
            }
            None => {
                let description = "is absent; one of encoded, raw is expected";
                return Err(FieldViolation::new("frame.picture", description).into());
            }
        };
        Ok(Self { id: frame.id, at: CaptureTime(frame.capture_time_us), picture })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(opening: v1::StreamOpening) -> String {
        Opening::try_from(opening).unwrap_err().to_string()
    }

    fn with_alarm(alarm: v1::AlarmOptions) -> v1::StreamOpening {
        v1::StreamOpening { alarm: Some(alarm), ..Default::default() }
    }

    #[test]
    fn an_empty_opening_watches_live_with_the_usual_rule() {
        let opening = Opening::try_from(v1::StreamOpening::default()).unwrap();
        assert_eq!((opening.mode, opening.outputs_every), (StreamMode::Live, 1));
        assert_eq!(opening.alarm.false_alarms_an_hour, None);
        assert_eq!(opening.alarm.above(2.5), AlarmRule::above(2.5));
    }

    #[test]
    fn a_rule_is_stated_field_by_field() {
        let alarm = v1::AlarmOptions {
            false_alarms_an_hour: 0.5,
            unusual_frames: 5,
            among_frames: 8,
            hold_frames: Some(0),
            cool_down_frames: Some(40),
        };
        let opening = Opening::try_from(with_alarm(alarm)).unwrap();
        assert_eq!(opening.alarm.false_alarms_an_hour, Some(0.5));
        let expected =
            AlarmRule { threshold: 3.0, clear: 3.0, unusual: 5, among: 8, hold: 0, cool_down: 40 };
        assert_eq!(opening.alarm.above(3.0), expected);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let alarm = v1::AlarmOptions {
            false_alarms_an_hour: -1.0,
            unusual_frames: 5,
            cool_down_frames: Some(100_001),
            ..Default::default()
        };
        assert_eq!(
            message(with_alarm(alarm)),
            "opening.alarm.unusual_frames is 5; 1 to 3 is expected; \
             opening.alarm.cool_down_frames is 100001; 0 to 100000 is expected; \
             opening.alarm.false_alarms_an_hour is -1; a number above 0 is expected"
        );
        let opening = v1::StreamOpening {
            mode: 7,
            frame_interval_ms: -3.0,
            camera: "x".repeat(257),
            ..Default::default()
        };
        assert_eq!(
            message(opening),
            "opening.mode is 7; accepted are STREAM_MODE_LIVE, STREAM_MODE_LOSSLESS; \
             opening.frame_interval_ms is -3 ms; an interval between frames from 0.001 to 3600000 \
             ms is expected; opening.camera has 257 bytes; at most 256 are expected"
        );
    }

    #[test]
    fn a_raw_frame_is_checked_against_its_size() {
        let frame =
            |picture| StreamFrame::try_from(v1::StreamFrame { picture, ..Default::default() });
        let raw = |data: usize| {
            let data = vec![0; data].into();
            let raw = v1::RawFrame { data, height: 2, width: 3, pixel_format: 0 };
            frame(Some(stream_frame::Picture::Raw(raw)))
        };
        assert_eq!(raw(18).unwrap().picture.bytes(), 18);
        assert_eq!(
            raw(17).unwrap_err().to_string(),
            "frame.raw.data has 17 bytes; 18 are expected (1 frames of 2x3 pixels at 3 bytes)"
        );
        assert_eq!(
            frame(None).unwrap_err().to_string(),
            "frame.picture is absent; one of encoded, raw is expected"
        );
    }
}
