//! What all scored frames say together.

use std::time::Duration;

use protoguard_core::metrics::{DetectionRates, MetricError, roc_auc};
use protoguard_core::normalise::{Bounds, FrameScore, GAMMA, Normaliser, quantile};
use protoguard_proto::v1::Model;
use serde::Serialize;

use super::record::FrameRecord;

/// The last line of the JSON lines, under the key `summary`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) model: String,
    pub(crate) model_version: String,
    pub(crate) videos: usize,
    pub(crate) frames: usize,
    pub(crate) clips_scored: usize,
    /// The score that alarms rest on; null without a calibration.
    pub(crate) served: Option<ServedScore>,
    /// Frames whose served score is an alarm.
    pub(crate) anomalous: usize,
    pub(crate) seconds: f64,
    pub(crate) clips_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    /// The model's own weight of the PSNR against the feature distance.
    pub(crate) gamma: f64,
    /// Null without labels, or where they are of one class.
    pub(crate) auc: Option<Aucs>,
    /// What the threshold finds of the labels; null where there is no AUC, or no threshold.
    pub(crate) at_threshold: Option<DetectionRates>,
    /// Why there is no AUC although there are labels.
    pub(crate) auc_unavailable: Option<String>,
}

/// What the served score of a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ServedScore {
    /// The model's calibration has a detector.
    SmoothedSurprise,
    /// 1 minus the regularity.
    AnomalyScore,
}

impl ServedScore {
    fn of(records: &[FrameRecord]) -> Option<Self> {
        let of = |score: fn(&FrameRecord) -> Option<f64>| {
            !records.is_empty() && records.iter().all(|record| score(record).is_some())
        };
        if of(|record| record.smoothed_surprise) {
            return Some(Self::SmoothedSurprise);
        }
        of(|record| record.anomaly_score).then_some(Self::AnomalyScore)
    }
}

/// Micro AUC: all scored frames of all videos together. The first t frames of a video have no
/// score and do not count. All but `served` are normalised by each video's own extremes, which
/// needs the whole video.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Aucs {
    /// The served score, on one scale for all videos; null without a calibration.
    pub(crate) served: Option<f64>,
    /// PSNR and feature distance, weighted by the summary's gamma.
    pub(crate) video: f64,
    /// PSNR alone.
    pub(crate) psnr: f64,
    /// Feature distance alone; null without a memory.
    pub(crate) feature_distance: Option<f64>,
    /// PSNR of the baseline that predicts no motion.
    pub(crate) copy_frame: Option<f64>,
    pub(crate) normal_frames: usize,
    pub(crate) abnormal_frames: usize,
}

impl Summary {
    /// Sums up `records`, which came in `elapsed`; `frames` has the length of every video.
    pub(crate) fn new(
        model: &Model,
        records: &[FrameRecord],
        frames: &[usize],
        elapsed: Duration,
    ) -> Self {
        let latencies: Vec<f64> = records.iter().map(|record| record.latency_ms).collect();
        let seconds = elapsed.as_secs_f64();
        let gamma = gamma_of(model);
        let (auc, auc_unavailable) = match aucs(records, gamma) {
            None => (None, None),
            Some(Ok(aucs)) => (Some(aucs), None),
            Some(Err(error)) => (None, Some(error.to_string())),
        };
        Self {
            model: model.name.clone(),
            model_version: model.version.clone(),
            videos: frames.len(),
            frames: frames.iter().sum(),
            clips_scored: records.len(),
            served: ServedScore::of(records),
            anomalous: records.iter().filter(|record| record.anomalous == Some(true)).count(),
            seconds,
            clips_per_second: records.len() as f64 / seconds.max(f64::MIN_POSITIVE),
            p50_ms: quantile(&latencies, 0.5).unwrap_or_default(),
            p95_ms: quantile(&latencies, 0.95).unwrap_or_default(),
            gamma,
            at_threshold: auc.as_ref().and_then(|_| at_threshold(records)),
            auc,
            auc_unavailable,
        }
    }
}

/// The weight of the PSNR in a model's regularity; the paper's where it has no calibration.
fn gamma_of(model: &Model) -> f64 {
    let for_all_scenes = model.calibrations.iter().find(|found| found.scene.is_empty());
    for_all_scenes.map_or(GAMMA, |calibration| calibration.gamma)
}

/// Nothing without labels.
fn aucs(records: &[FrameRecord], gamma: f64) -> Option<Result<Aucs, MetricError>> {
    let labels: Option<Vec<bool>> = records.iter().map(|record| record.label).collect();
    let labels = labels.filter(|labels| !labels.is_empty())?;
    Some(aucs_against(records, &labels, gamma))
}

/// Nothing where a frame has no label or no verdict, or one class is empty.
fn at_threshold(records: &[FrameRecord]) -> Option<DetectionRates> {
    let called = |record: &FrameRecord| Some((record.label?, record.anomalous?));
    let called: Vec<(bool, bool)> = records.iter().map(called).collect::<Option<_>>()?;
    let share = |class: bool| {
        let of_class = called.iter().filter(|&&(label, _)| label == class);
        let alarms = of_class.clone().filter(|&&(_, alarm)| alarm).count();
        let all = of_class.count();
        (all > 0).then(|| alarms as f64 / all as f64)
    };
    Some(DetectionRates { true_positive_rate: share(true)?, false_positive_rate: share(false)? })
}

fn aucs_against(records: &[FrameRecord], labels: &[bool], gamma: f64) -> Result<Aucs, MetricError> {
    let auc = |scores: Option<Vec<f64>>| scores.map(|s| roc_auc(&s, labels)).transpose();
    let served = records.iter().map(FrameRecord::served).collect();
    let distances = by_video(records, |video| {
        let distances: Option<Vec<f64>> = video.iter().map(|r| r.feature_distance).collect();
        let distances = distances?;
        let bounds = Bounds::of(distances.iter().copied())?;
        Some(distances.iter().map(|&distance| bounds.position(distance, 0.0)).collect())
    });
    let copy_frame = by_video(records, |video| {
        let psnr: Option<Vec<f64>> = video.iter().map(|r| r.copy_frame_psnr_db).collect();
        psnr.map(|psnr| psnr_anomaly(&psnr))
    });
    let psnr = by_video(records, |video| {
        Some(psnr_anomaly(&video.iter().map(|r| r.psnr_db).collect::<Vec<_>>()))
    });
    let abnormal_frames = labels.iter().filter(|&&label| label).count();
    Ok(Aucs {
        served: auc(served)?,
        video: roc_auc(&video_anomaly(records, gamma), labels)?,
        psnr: roc_auc(&psnr.unwrap_or_default(), labels)?,
        feature_distance: auc(distances)?,
        copy_frame: auc(copy_frame)?,
        normal_frames: labels.len() - abnormal_frames,
        abnormal_frames,
    })
}

/// Anomaly scores by each video's own extremes (Eq. 25), one a record.
pub(crate) fn video_anomaly(records: &[FrameRecord], gamma: f64) -> Vec<f64> {
    let scores = by_video(records, |video| {
        let group: Vec<FrameScore> = video.iter().map(FrameRecord::raw).collect();
        let normaliser = Normaliser::min_max(&group, gamma)?;
        Some(group.iter().map(|score| normaliser.regularity(score).anomaly().0).collect())
    });
    scores.unwrap_or_default()
}

fn psnr_anomaly(psnr_db: &[f64]) -> Vec<f64> {
    let Some(bounds) = Bounds::of(psnr_db.iter().copied()) else { return Vec::new() };
    psnr_db.iter().map(|&psnr| 1.0 - bounds.position(psnr, 1.0)).collect()
}

/// Applies `scores` to each video's records, which are contiguous, and joins what it gives.
/// Nothing where it gives nothing for some video.
fn by_video(
    records: &[FrameRecord],
    scores: impl Fn(&[FrameRecord]) -> Option<Vec<f64>>,
) -> Option<Vec<f64>> {
    let joined: Option<Vec<Vec<f64>>> =
        records.chunk_by(|a, b| a.video_index == b.video_index).map(scores).collect();
    joined.map(|videos| videos.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(video_index: usize, psnr_db: f64, label: Option<bool>) -> FrameRecord {
        FrameRecord {
            video_index,
            psnr_db,
            feature_distance: Some(0.5),
            regularity: Some(psnr_db / 100.0),
            anomaly_score: Some(1.0 - psnr_db / 100.0),
            label,
            copy_frame_psnr_db: Some(30.0),
            latency_ms: psnr_db,
            ..Default::default()
        }
    }

    fn summary(records: &[FrameRecord]) -> Summary {
        Summary::new(&Model::default(), records, &[6, 6], Duration::from_secs(2))
    }

    #[test]
    fn every_video_is_normalised_by_itself() {
        // Video 1 lies 40 dB above video 0: only video-wise bounds rank the frames right.
        let records = [
            record(0, 30.0, Some(false)),
            record(0, 20.0, Some(true)),
            record(1, 70.0, Some(false)),
            record(1, 60.0, Some(true)),
        ];
        let aucs = summary(&records).auc.unwrap();
        assert_eq!((aucs.video, aucs.psnr), (1.0, 1.0));
        assert_eq!(aucs.served, Some(0.75));
        // All alike: every pair is a tie.
        assert_eq!((aucs.feature_distance, aucs.copy_frame), (Some(0.5), Some(0.5)));
        assert_eq!((aucs.normal_frames, aucs.abnormal_frames), (2, 2));
    }

    /// The feature distance and the regularity say nothing, and the smoothed surprise all.
    #[test]
    fn the_smoothed_surprise_is_served_where_there_is_one() {
        let surprising = |surprise: f64, label: bool| FrameRecord {
            smoothed_surprise: Some(surprise),
            surprise_threshold: Some(2.0),
            anomalous: Some(surprise > 2.0),
            ..record(0, 30.0, Some(label))
        };
        let mut records = vec![
            surprising(0.5, false),
            surprising(2.5, false),
            surprising(3.0, true),
            surprising(1.0, true),
        ];
        let served = summary(&records);
        assert_eq!(served.served, Some(ServedScore::SmoothedSurprise));
        assert_eq!((served.auc.unwrap().served, served.anomalous), (Some(0.75), 2));
        let rates = served.at_threshold.unwrap();
        assert_eq!((rates.true_positive_rate, rates.false_positive_rate), (0.5, 0.5));
        records.iter_mut().for_each(|record| record.smoothed_surprise = None);
        assert_eq!(summary(&records).served, Some(ServedScore::AnomalyScore));
        assert_eq!(summary(&records).auc.unwrap().served, Some(0.5));
        assert_eq!(summary(&[]).served, None);
    }

    #[test]
    fn one_class_says_so() {
        let records = [record(0, 30.0, Some(true)), record(0, 20.0, Some(true))];
        let summary = summary(&records);
        assert_eq!(summary.auc, None);
        let reason = summary.auc_unavailable.unwrap();
        assert!(reason.contains("all 2 frames are abnormal"), "{reason}");
    }

    #[test]
    fn without_labels_there_is_no_auc_and_no_complaint() {
        let summary = summary(&[record(0, 30.0, None), record(0, 20.0, None)]);
        assert_eq!((summary.auc, summary.auc_unavailable), (None, None));
        assert_eq!((summary.p50_ms, summary.clips_per_second, summary.frames), (25.0, 1.0, 12));
    }

    #[test]
    fn a_model_without_memory_has_no_distance_to_rank_by() {
        let records = [
            FrameRecord { feature_distance: None, ..record(0, 30.0, Some(false)) },
            FrameRecord { feature_distance: None, ..record(0, 20.0, Some(true)) },
        ];
        let aucs = summary(&records).auc.unwrap();
        assert_eq!((aucs.feature_distance, aucs.video), (None, 1.0));
    }
}
