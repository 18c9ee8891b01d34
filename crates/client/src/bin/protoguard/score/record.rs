//! One scored frame, as it is written.

use std::collections::BTreeMap;

use anyhow::Context;
use protoguard_core::normalise::FrameScore;
use protoguard_core::{FeatureDistance, Part, PsnrDb, Region, Regularity};
use protoguard_proto::part_from_wire;
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
    /// How rare the clip is by itself: `-log10` of the share of normal frames at least so unusual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) surprise: Option<f64>,
    /// The same with the video's frames before it: the served score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) smoothed_surprise: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) surprise_threshold: Option<f64>,
    /// Surprise of every part that counts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) parts: BTreeMap<Part, f64>,
    /// The box that carries the anomaly, in shares of the frame's width and height.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<Region>,
    /// Whether the smoothed surprise lies above its threshold; the server's word where the model
    /// has no such score.
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
    pub(crate) fn new(
        video: &str,
        label: Option<bool>,
        scored: &Scored,
        smoothed_surprise: Option<f64>,
    ) -> anyhow::Result<Self> {
        let response = &scored.response;
        let frame = scored.frame;
        let psnr_db = response.psnr_db.with_context(|| {
            format!("server answered frame {frame} of video {video} without psnr_db")
        })?;
        let timings = response.timings.unwrap_or_default();
        let ms = |us: u64| us as f64 / 1000.0;
        let above = smoothed_surprise
            .zip(response.surprise_threshold)
            .map(|(smoothed, threshold)| smoothed > threshold);
        let parts = response.parts.iter().filter_map(|of| {
            // A later server may have parts that this version cannot name.
            Some((part_from_wire(of.part())?, of.surprise))
        });
        Ok(Self {
            video: video.to_owned(),
            frame,
            psnr_db,
            feature_distance: response.feature_distance,
            regularity: response.regularity,
            anomaly_score: response.regularity.map(|value| Regularity(value).anomaly().0),
            surprise: response.surprise,
            smoothed_surprise,
            surprise_threshold: response.surprise_threshold,
            parts: parts.collect(),
            region: response.region.map(Region::from),
            anomalous: above.or(response.anomalous),
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

    /// The score that alarms rest on; large is anomalous.
    pub(crate) fn served(&self) -> Option<f64> {
        self.smoothed_surprise.or(self.anomaly_score)
    }

    /// Above it the served score is an alarm.
    pub(crate) fn threshold(&self) -> Option<f64> {
        match self.smoothed_surprise {
            Some(_) => self.surprise_threshold,
            None => self.regularity_threshold.map(|threshold| 1.0 - threshold),
        }
    }

    /// Why: the part with the largest surprise.
    pub(crate) fn why(&self) -> Option<Part> {
        let largest = self.parts.iter().max_by(|a, b| a.1.total_cmp(b.1));
        largest.map(|(&part, _)| part)
    }

    /// The raw scores, for another normalisation.
    pub(crate) fn raw(&self) -> FrameScore {
        FrameScore {
            psnr: PsnrDb(self.psnr_db),
            feature_distance: self.feature_distance.map(FeatureDistance),
        }
    }
}
