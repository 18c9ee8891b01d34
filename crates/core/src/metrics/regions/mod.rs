//! Whether a score lies where the anomaly is: the region-based and the track-based detection
//! criterion (RBDC and TBDC) of Ramachandra and Jones, "Street Scene: A new dataset and evaluation
//! protocol for video anomaly detection" (WACV 2020), and the AUC over pixels.
//!
//! At a threshold, the detected regions of a frame are the connected components (8 neighbours) of
//! its map at or above it; each cell of the map stands for the mask's pixels whose centres it
//! covers. Ground-truth regions are the connected components of the mask, and a track links them
//! from frame to frame. Where maps come from is the caller's business: any grid will do.

mod grid;
mod pixels;
mod sweep;
mod tracks;

use std::rc::Rc;

use serde::Serialize;

pub use pixels::pixel_auc;

use super::MetricError;
use crate::{Components, Mask, Plane};
use grid::Grid;
use sweep::{Counts, FrameRegions, thresholds};
use tracks::Tracks;

/// One frame's map and truth.
#[derive(Clone, Copy, Debug)]
pub struct MappedFrame<'a> {
    /// `[height, width, 1]`, high where the frame is abnormal, on a grid of any size.
    pub map: &'a Plane,
    /// The abnormal pixels.
    pub mask: &'a Mask,
}

/// When regions and tracks count as detected.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RegionRule {
    /// α: the share of a track's regions that must be detected.
    pub track_share: f64,
    /// β: the least intersection over union of a ground-truth region and a detected one.
    pub overlap: f64,
    /// How many thresholds are tried, at quantiles of the frames' largest values. A quarter as
    /// many go on below the least of those, at quantiles of all values.
    pub thresholds: usize,
}

impl Default for RegionRule {
    fn default() -> Self {
        Self { track_share: 0.1, overlap: 0.1, thresholds: 200 }
    }
}

/// What was detected at one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RegionPoint {
    /// Cells at or above it are detected.
    pub threshold: f32,
    /// Detected regions that overlap no ground-truth region enough, over the frames.
    pub false_positives_a_frame: f64,
    /// Share of ground-truth regions that a detected region of their frame overlaps enough.
    pub region_rate: f64,
    /// Share of tracks of which enough regions are detected.
    pub track_rate: f64,
}

/// The two criteria and what they rest on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegionDetection {
    /// Area under the region rate over false positives a frame, from 0 to 1 of these.
    pub rbdc: f64,
    /// The same of the track rate.
    pub tbdc: f64,
    /// Ground-truth regions.
    pub regions: usize,
    /// Ground-truth tracks.
    pub tracks: usize,
    /// Frames, those without a region included.
    pub frames: usize,
    /// One point a threshold, the highest first.
    pub points: Vec<RegionPoint>,
}

/// RBDC and TBDC of frames in temporal order, by video.
///
/// Lowering the threshold joins regions, so false positives do not only rise. Both areas are
/// therefore taken under what an allowance buys: at each number of false positives a frame the
/// best rate of any threshold that keeps within it, linear between such thresholds, from (0, 0),
/// level after the last one.
///
/// # Errors
/// When no mask marks anything, masks of one video differ in size, or a map is no single channel
/// of finite values.
pub fn region_detection(
    videos: &[Vec<MappedFrame<'_>>],
    rule: RegionRule,
) -> Result<RegionDetection, MetricError> {
    check(videos)?;
    let thresholds = thresholds(videos, rule.thresholds);
    let mut counts = Counts::new(thresholds.len());
    let mut tracks = Tracks::default();
    for video in videos {
        tracks.cut();
        for frame in video {
            let truth = Rc::new(Components::of(frame.mask));
            let track_of_region = tracks.follow(&truth);
            let grid = Grid::new(frame.map, frame.mask);
            let mut regions = FrameRegions::new(&grid, &truth, rule.overlap);
            regions.sweep(&thresholds, &track_of_region, &mut counts);
        }
    }
    let frames = videos.iter().map(Vec::len).sum();
    if tracks.regions() == 0 {
        return Err(MetricError::NoRegions { frames });
    }
    let points = counts.points(&thresholds, &tracks, &rule);
    Ok(RegionDetection {
        rbdc: area(&points, |point| point.region_rate),
        tbdc: area(&points, |point| point.track_rate),
        regions: tracks.regions(),
        tracks: tracks.lengths().len(),
        frames,
        points,
    })
}

/// Area under the best rate within an allowance of 0 to 1 false positives a frame.
fn area(points: &[RegionPoint], rate: impl Fn(&RegionPoint) -> f64) -> f64 {
    let mut sorted: Vec<&RegionPoint> = points.iter().collect();
    sorted.sort_by(|a, b| a.false_positives_a_frame.total_cmp(&b.false_positives_a_frame));
    let (mut area, mut at, mut best) = (0.0, 0.0, 0.0);
    for point in sorted {
        let (next, better) = (point.false_positives_a_frame, rate(point));
        if better <= best {
            continue;
        }
        if next >= 1.0 {
            let at_one = best + (better - best) * (1.0 - at) / (next - at);
            return area + (1.0 - at) * (best + at_one) / 2.0;
        }
        area += (next - at) * (best + better) / 2.0;
        (at, best) = (next, better);
    }
    area + (1.0 - at) * best
}

fn check(videos: &[Vec<MappedFrame<'_>>]) -> Result<(), MetricError> {
    for (video, frames) in videos.iter().enumerate() {
        for (frame, MappedFrame { map, mask }) in frames.iter().enumerate() {
            let found = if map.channels != 1 || map.height == 0 || map.width == 0 {
                format!("{}x{}x{}", map.height, map.width, map.channels)
            } else if map.values.len() != map.height * map.width {
                format!("{}x{} with {} values", map.height, map.width, map.values.len())
            } else if let Some(at) = map.values.iter().position(|value| !value.is_finite()) {
                format!("{} at value {at}", map.values[at])
            } else {
                let first = frames[0].mask;
                let (height, width) = (mask.height(), mask.width());
                let (first_height, first_width) = (first.height(), first.width());
                if (height, width) == (first_height, first_width) {
                    continue;
                }
                return Err(MetricError::MaskSize {
                    video,
                    frame,
                    height,
                    width,
                    first_height,
                    first_width,
                });
            };
            return Err(MetricError::Map { video, frame, found });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
