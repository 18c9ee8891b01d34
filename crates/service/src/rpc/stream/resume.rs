//! What another server needs to go on with a stream.

use protoguard_core::{CameraAlarmMemory, CaptureTime, WatchMemory};
use protoguard_proto::{FieldViolation, Opening, Violations};
use serde::{Deserialize, Serialize};

use super::judge::Judge;
use crate::transport::credentials::resume_key::ResumeKey;

const FIELD: &str = "opening.resume_token";
/// Bytes of a token, at most: ten times what one has.
const TOKEN_BYTES: usize = 16 << 10;
/// Hexadecimal digits of a stream's name.
const NAME: usize = 32;

/// A stream's memory but for its window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resume {
    pub(super) subject: Subject,
    /// Of the sums that were smoothed.
    pub(super) version: String,
    pub(super) calibration: String,
    /// Names the stream in the ids of its alarms.
    pub(super) stream: String,
    pub(super) smoothed: Option<f64>,
    pub(super) alarm: CameraAlarmMemory,
    /// Of the last scored frame.
    pub(super) last: Option<CaptureTime>,
    pub(super) watch: WatchMemory,
}

/// What a stream watches, and by which model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subject {
    model: String,
    scene: Option<String>,
    camera: String,
}

impl Subject {
    pub(super) fn new(opening: &Opening, judge: &Judge) -> Self {
        Self {
            model: judge.model.slot().name.clone(),
            scene: opening.scene.clone(),
            camera: opening.camera.clone(),
        }
    }

    pub(super) fn model(&self) -> &str {
        &self.model
    }

    fn described(&self) -> String {
        let scene = self.scene.as_deref().unwrap_or("all scenes");
        format!("camera `{}`, model `{}`, {scene}", self.camera, self.model)
    }
}

impl Resume {
    /// The token that says it.
    pub(super) fn token(&self, key: &ResumeKey) -> Vec<u8> {
        key.signed(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// What a token says of a subject; nothing where there is none.
    ///
    /// # Errors
    /// When it was made with another key, is damaged, or is of another subject.
    pub(super) fn of(
        token: &[u8],
        subject: &Subject,
        key: &ResumeKey,
    ) -> Result<Option<Self>, Violations> {
        if token.is_empty() {
            return Ok(None);
        }
        let short = Some(token).filter(|token| token.len() <= TOKEN_BYTES);
        let content = short.and_then(|token| key.opened(token));
        let read = content.and_then(|content| serde_json::from_slice::<Self>(content).ok());
        let read = read.filter(|found| {
            let name = found.stream.as_bytes();
            name.len() == NAME && name.iter().all(u8::is_ascii_hexdigit)
        });
        let Some(found) = read else {
            let description = "is none of this server's or of one with the same resume_key_file; \
                               the token of the last StreamClosing is expected, or none";
            return Err(FieldViolation::new(FIELD, description).into());
        };
        if found.subject != *subject {
            let description = format!(
                "is of {}; one of {} is expected",
                found.subject.described(),
                subject.described()
            );
            return Err(FieldViolation::new(FIELD, description).into());
        }
        Ok(Some(found))
    }
}
