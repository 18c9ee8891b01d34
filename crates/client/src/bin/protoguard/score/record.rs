//! One scored frame, as it is written.

use anyhow::Context;
use protoguard_core::normalise::FrameScore;
use protoguard_core::{FeatureDistance, PsnrDb, Regularity};
use serde::Serialize;

use super::pipeline::Scored;

/// One line of the JSON lines. A key is absent where the model has no such score.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct FrameRecord {
    pub(crate) video: String,
    /// Zero-based index of the frame that was predicted.
    pub(crate) frame: usize,
    pub(crate) psnr_db: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) feature_distance: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) regularity: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) anomaly_score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) anomalous: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) regularity_threshold: Option<f64>,
    /// Ground truth: true for abnormal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<bool>,
    /// What a model that predicts no motion at all would reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) copy_frame_psnr_db: Option<f64>,
    pub(crate) latency_ms: f64,
    pub(crate) queue_ms: f64,
    pub(crate) decode_ms: f64,
    pub(crate) compute_ms: f64,
    /// Clips that shared the forward pass.
    pub(crate) batch_size: u32,
    /// Position of its video among all, for grouping.
    #[serde(skip)]
    pub(crate) video_index: usize,
}

impl FrameRecord {
    /// The record of an answer.
    pub(crate) fn new(video: &str, label: Option<bool>, scored: &Scored) -> anyhow::Result<Self> {
        let response = &scored.response;
        let frame = scored.frame;
        let psnr_db = response.psnr_db.with_context(|| {
            format!("server answered frame {frame} of video {video} without psnr_db")
        })?;
        let timings = response.timings.unwrap_or_default();
        let ms = |us: u64| us as f64 / 1000.0;
        Ok(Self {
            video: video.to_owned(),
            frame,
            psnr_db,
            feature_distance: response.feature_distance,
            regularity: response.regularity,
            anomaly_score: response.regularity.map(|value| Regularity(value).anomaly().0),
            anomalous: response.anomalous,
            regularity_threshold: response.regularity_threshold,
            label,
            copy_frame_psnr_db: scored.copy_frame_psnr_db,
            latency_ms: scored.latency.as_secs_f64() * 1000.0,
            queue_ms: ms(timings.queue_us),
            decode_ms: ms(timings.decode_us),
            compute_ms: ms(timings.compute_us),
            batch_size: timings.batch_size,
            video_index: scored.video,
        })
    }

    /// The raw scores, for another normalisation.
    pub(crate) fn raw(&self) -> FrameScore {
        FrameScore {
            psnr: PsnrDb(self.psnr_db),
            feature_distance: self.feature_distance.map(FeatureDistance),
        }
    }
}
