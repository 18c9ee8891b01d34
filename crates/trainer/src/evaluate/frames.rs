use std::collections::BTreeMap;

use protoguard_core::normalise::Grouping;
use protoguard_core::{Detector, Part, Region, Statistics};
use serde::Serialize;

use super::measured::Measured;
use super::normalised::detector_of;
use super::normalised::{Signal, normalise};
use super::surprises::Surprises;
use super::surprises::statistic;

/// One scored frame.
#[derive(Serialize)]
struct FrameLine<'a> {
    video: &'a str,
    /// Counted from 0.
    frame: usize,
    psnr_db: f64,
    feature_distance: Option<f64>,
    /// Calibrated, where the checkpoint has a calibration.
    regularity: Option<f64>,
    copy_frame_psnr_db: f64,
    /// What the detector judges, or would judge.
    statistics: BTreeMap<&'static str, f64>,
    /// Of the frame by itself, where the checkpoint has a detector.
    surprise: Option<f64>,
    /// After causal smoothing.
    smoothed_surprise: Option<f64>,
    /// Where, in shares of the frame's width and height.
    region: Option<Region>,
    abnormal: bool,
}

fn named(
    detector: Option<&Detector>,
    statistics: Option<&Statistics>,
) -> BTreeMap<&'static str, f64> {
    let of = |part: Part| Some((part.name(), statistic(part, statistics?, detector)?));
    Part::ALL.into_iter().filter_map(of).collect()
}

/// A line of JSON for every scored frame, for `--frames-out`.
///
/// # Errors
/// When a number is none.
pub(crate) fn frame_lines(measured: &Measured<'_>) -> anyhow::Result<String> {
    let calibrated =
        normalise(measured.videos, Grouping::Calibrated, Signal::Combined, measured.calibrations);
    let mut lines = String::new();
    for (index, video) in measured.videos.iter().enumerate() {
        let surprises = Surprises::of(video, measured.calibrations);
        let detector = detector_of(measured.calibrations, video);
        for (position, score) in video.scores.iter().enumerate() {
            let anomaly = calibrated.as_ref().map(|found| found.videos[index][position]);
            lines += &serde_json::to_string(&FrameLine {
                video: &video.name,
                frame: video.first_frame + position,
                psnr_db: score.psnr.0,
                feature_distance: score.feature_distance.map(|distance| distance.0),
                regularity: anomaly.map(|anomaly| 1.0 - anomaly),
                copy_frame_psnr_db: video.baselines[position].copy_frame.0,
                statistics: named(detector, video.statistics.get(position)),
                region: video.regions.get(position).copied(),
                surprise: surprises.as_ref().map(|found| found.instant[position]),
                smoothed_surprise: surprises.as_ref().map(|found| found.smoothed[position]),
                abnormal: measured.labels[index][position],
            })?;
            lines.push('\n');
        }
    }
    Ok(lines)
}
