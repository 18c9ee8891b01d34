use protoguard_core::metrics::{MappedFrame, MetricError, RegionRule, pixel_auc, region_detection};
use protoguard_core::{Mask, Plane};
use serde::Serialize;

use crate::evaluate::measured::Measured;

/// Whether the served score points at the place of the anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Regions {
    /// Region-based detection criterion: area under the rate of regions found over false regions
    /// a frame, up to one.
    pub rbdc: f64,
    /// Track-based detection criterion.
    pub tbdc: f64,
    /// ROC AUC over single pixels.
    pub pixel_auc: f64,
    /// Ground-truth regions.
    pub regions: usize,
    /// Ground-truth tracks.
    pub tracks: usize,
    /// Frames that have a mask.
    pub frames: usize,
    /// When regions and tracks count as detected.
    pub rule: RegionRule,
}

impl Regions {
    /// Over the videos that have masks; nothing where none has, where maps were not kept or where
    /// the checkpoint has no detector.
    pub(super) fn of(
        measured: &Measured<'_>,
        masks: &[Option<Vec<Mask>>],
    ) -> Result<Option<Self>, MetricError> {
        let Some(surprises) = measured.smoothed() else { return Ok(None) };
        let mapped = measured.videos.iter().zip(&surprises).zip(masks);
        let mapped = mapped.filter_map(|((video, surprises), masks)| {
            let masks =
                masks.as_ref().filter(|masks| masks.len() == video.relative_errors.len())?;
            let maps = video.relative_errors.iter().zip(surprises);
            let maps: Vec<Plane> = maps.map(|(map, &surprise)| evidence(map, surprise)).collect();
            Some(MappedVideo { maps, masks })
        });
        let mapped: Vec<MappedVideo<'_>> = mapped.collect();
        if mapped.is_empty() {
            return Ok(None);
        }
        let videos: Vec<Vec<MappedFrame<'_>>> = mapped.iter().map(MappedVideo::frames).collect();
        let rule = RegionRule::default();
        let found = region_detection(&videos, rule)?;
        Ok(Some(Self {
            rbdc: found.rbdc,
            tbdc: found.tbdc,
            pixel_auc: pixel_auc(&videos)?,
            regions: found.regions,
            tracks: found.tracks,
            frames: found.frames,
            rule,
        }))
    }
}

struct MappedVideo<'a> {
    maps: Vec<Plane>,
    masks: &'a [Mask],
}

impl MappedVideo<'_> {
    fn frames(&self) -> Vec<MappedFrame<'_>> {
        self.maps.iter().zip(self.masks).map(|(map, mask)| MappedFrame { map, mask }).collect()
    }
}

/// The relative error by cell, scaled so that its peak is the frame's smoothed surprise: where the
/// frame is unusual, on the scale of how unusual it is, which is the same for every frame.
fn evidence(map: &Plane, surprise: f64) -> Plane {
    let peak = map.values.iter().copied().fold(0.0, f32::max);
    let scale = if peak > 0.0 { surprise as f32 / peak } else { 0.0 };
    let values = map.values.iter().map(|value| value * scale).collect();
    Plane { values, ..map.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_carries_the_surprise() {
        let map = Plane { height: 1, width: 3, channels: 1, values: [0.5, 0.0, 0.25].into() };
        assert_eq!(*evidence(&map, 6.0).values, [6.0, 0.0, 3.0]);
        let still = Plane { values: [0.0; 3].into(), ..map };
        assert_eq!(*evidence(&still, 6.0).values, [0.0; 3]);
    }
}
