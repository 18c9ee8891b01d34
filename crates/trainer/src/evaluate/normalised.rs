//! Raw scores to anomaly scores under each grouping and each signal.

use std::collections::BTreeMap;

use protoguard_core::normalise::{FrameScore, GAMMA, Grouping, Normaliser};
use protoguard_core::{AnomalyScore, Baselines, Calibration, Detector};
use serde::Serialize;

use crate::scoring::ScoredVideo;

/// Which of the raw scores decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// PSNR and feature distance weighted by gamma (Eq. 25).
    Combined,
    /// PSNR alone.
    Psnr,
    /// Feature distance alone.
    FeatureDistance,
    /// PSNR of the baseline that predicts the last frame again.
    CopyFrame,
}

impl Signal {
    /// Every signal, in the order of the report.
    pub const ALL: [Self; 4] = [Self::Combined, Self::Psnr, Self::FeatureDistance, Self::CopyFrame];

    /// The weight of the PSNR: the checkpoint's own where both count, the paper's where it has no
    /// calibration to tell.
    fn gamma(self, calibration: Option<&Calibration>) -> f64 {
        match self {
            Self::Combined => calibration.map_or(GAMMA, |found| found.normaliser.gamma),
            Self::Psnr | Self::CopyFrame => 1.0,
            Self::FeatureDistance => 0.0,
        }
    }

    /// The raw scores that this signal reads, or nothing where the model has none.
    fn raw(self, video: &ScoredVideo) -> Option<Vec<FrameScore>> {
        match self {
            Self::CopyFrame => {
                let alone = |found: &Baselines| FrameScore {
                    psnr: found.copy_frame,
                    feature_distance: None,
                };
                Some(video.baselines.iter().map(alone).collect())
            }
            Self::FeatureDistance if video.scores.iter().any(|s| s.feature_distance.is_none()) => {
                None
            }
            _ => Some(video.scores.clone()),
        }
    }
}

/// Anomaly scores of every video, and the groups whose scores were all the same.
#[derive(Clone, Debug)]
pub struct Normalised {
    /// One list a video, one score a frame, in [0, 1].
    pub videos: Vec<Vec<f64>>,
    /// Names of degenerate groups.
    pub degenerate: Vec<String>,
}

/// Anomaly scores of `videos`, or nothing where the signal or its bounds do not exist: a model
/// without memory has no feature distance, and the baseline has no calibration.
pub fn normalise(
    videos: &[ScoredVideo],
    grouping: Grouping,
    signal: Signal,
    calibrations: &[Calibration],
) -> Option<Normalised> {
    let raw: Vec<Vec<FrameScore>> =
        videos.iter().map(|video| signal.raw(video)).collect::<Option<_>>()?;
    let normalisers = if grouping == Grouping::Calibrated {
        videos
            .iter()
            .map(|video| calibrated(video, signal, calibrations))
            .collect::<Option<Vec<_>>>()?
    } else {
        min_max(videos, &raw, grouping, |video| {
            signal.gamma(calibration_of(calibrations, video.scene.as_deref()))
        })?
    };
    let degenerate = videos.iter().zip(&normalisers).filter(|(_, n)| n.is_degenerate());
    Some(Normalised {
        degenerate: degenerate.map(|(video, _)| video.name.clone()).collect(),
        videos: raw
            .iter()
            .zip(&normalisers)
            .map(|(scores, normaliser)| {
                let anomaly = |score| normaliser.regularity(score).anomaly();
                scores.iter().map(anomaly).map(|AnomalyScore(value)| value).collect()
            })
            .collect(),
    })
}

fn min_max(
    videos: &[ScoredVideo],
    raw: &[Vec<FrameScore>],
    grouping: Grouping,
    gamma: impl Fn(&ScoredVideo) -> f64,
) -> Option<Vec<Normaliser>> {
    let mut groups: BTreeMap<String, Vec<FrameScore>> = BTreeMap::new();
    let keys: Vec<String> = videos.iter().map(|video| group_of(video, grouping)).collect();
    for (key, scores) in keys.iter().zip(raw) {
        groups.entry(key.clone()).or_default().extend(scores);
    }
    let pairs = keys.iter().zip(videos);
    pairs.map(|(key, video)| Normaliser::min_max(&groups[key], gamma(video))).collect()
}

fn group_of(video: &ScoredVideo, grouping: Grouping) -> String {
    match grouping {
        Grouping::Video => video.name.clone(),
        Grouping::Scene => video.scene.clone().unwrap_or_default(),
        Grouping::Dataset | Grouping::Calibrated => String::new(),
    }
}

fn calibrated(
    video: &ScoredVideo,
    signal: Signal,
    calibrations: &[Calibration],
) -> Option<Normaliser> {
    if signal == Signal::CopyFrame {
        return None;
    }
    let calibration = calibration_of(calibrations, video.scene.as_deref())?;
    Some(Normaliser { gamma: signal.gamma(Some(calibration)), ..calibration.normaliser })
}

/// The calibration of a scene, or the one for all scenes where it has none of its own.
pub(crate) fn calibration_of<'a>(
    calibrations: &'a [Calibration],
    scene: Option<&str>,
) -> Option<&'a Calibration> {
    let own = calibrations.iter().find(|c| c.scene.is_some() && c.scene.as_deref() == scene);
    own.or_else(|| calibrations.iter().find(|c| c.scene.is_none()))
}

/// What judges a video's frames; nothing where the calibration of its scene has none.
pub(super) fn detector_of<'a>(
    calibrations: &'a [Calibration],
    video: &ScoredVideo,
) -> Option<&'a Detector> {
    calibration_of(calibrations, video.scene.as_deref())?.detector.as_ref()
}

#[cfg(test)]
mod tests {
    use protoguard_core::{FeatureDistance, PsnrDb};

    use super::*;

    fn baselines(copy_frame: f64) -> Baselines {
        let copy_frame = PsnrDb(copy_frame);
        Baselines { copy_frame, copy_frame_box: copy_frame, extrapolation: None }
    }

    fn video(name: &str, psnr: &[f64]) -> ScoredVideo {
        let score = |&value: &f64| FrameScore {
            psnr: PsnrDb(value),
            feature_distance: Some(FeatureDistance(value / 100.0)),
        };
        ScoredVideo {
            name: name.to_owned(),
            scene: None,
            first_frame: 4,
            scores: psnr.iter().map(score).collect(),
            regions: Vec::new(),
            statistics: Vec::new(),
            relative_errors: Vec::new(),
            baselines: psnr.iter().map(|&value| baselines(value)).collect(),
        }
    }

    #[test]
    fn groups_share_their_bounds() {
        let videos = [video("01", &[20.0, 30.0]), video("02", &[30.0, 40.0])];
        let by_video = normalise(&videos, Grouping::Video, Signal::Psnr, &[]).unwrap();
        assert_eq!(by_video.videos, [vec![1.0, 0.0], vec![1.0, 0.0]]);
        let together = normalise(&videos, Grouping::Dataset, Signal::CopyFrame, &[]).unwrap();
        assert_eq!(together.videos, [vec![1.0, 0.5], vec![0.5, 0.0]]);
    }

    #[test]
    fn a_high_distance_is_anomalous() {
        let videos = [video("01", &[20.0, 30.0])];
        let found = normalise(&videos, Grouping::Video, Signal::FeatureDistance, &[]).unwrap();
        assert_eq!(found.videos, [vec![0.0, 1.0]]);
    }

    #[test]
    fn what_does_not_exist_is_absent() {
        let mut videos = [video("01", &[20.0, 30.0])];
        assert!(normalise(&videos, Grouping::Calibrated, Signal::Combined, &[]).is_none());
        videos[0].scores[0].feature_distance = None;
        assert!(normalise(&videos, Grouping::Video, Signal::FeatureDistance, &[]).is_none());
    }

    #[test]
    fn a_flat_video_is_named() {
        let videos = [video("01", &[20.0, 20.0]), video("02", &[30.0, 40.0])];
        let found = normalise(&videos, Grouping::Video, Signal::Combined, &[]).unwrap();
        assert_eq!(found.degenerate, ["01"]);
        assert_eq!(found.videos[0], [0.0, 0.0]);
    }
}
