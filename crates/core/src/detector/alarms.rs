//! How often normal video raises the alarm: from a share of frames to alarms an hour.
//!
//! Unusual frames come in clusters, and an alarm takes several of them. The alarms for each frame
//! above the threshold (in extreme value theory, with the alarm's rule as the declustering, the
//! *extremal index*: Leadbetter, Lindgren and Rootzén, 1983) are counted at a threshold that normal
//! video does cross, and hold for the higher ones that it does not.

use serde::{Deserialize, Serialize};

use super::Detector;
use crate::AlarmRule;

/// The share is counted where normal video raises the alarm so many times.
const ENOUGH: usize = 20;
/// Thresholds at which alarms are counted lie between these surprises, ...
const LOWEST: f64 = 1.0;
/// ... rarest first: beyond one frame in a million nothing is counted.
const HIGHEST: f64 = 6.0;
/// How far one lies from the next.
const STEP: f64 = 0.05;

/// Alarms on normal video.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmFrequency {
    /// Alarms for each frame above the threshold, above 0 and at most 1.
    pub per_unusual_frame: f64,
    /// How many alarms that was counted on; 0 where there was none at all, and one was assumed.
    pub alarms: usize,
    /// Normal frames that they were counted in.
    pub frames: usize,
}

impl AlarmFrequency {
    /// Counts the alarms of videos, each the smoothed surprises of its frames in order.
    pub(super) fn of(videos: &[Vec<f64>]) -> Self {
        let frames = videos.iter().map(Vec::len).sum();
        let steps = ((HIGHEST - LOWEST) / STEP).round() as usize;
        let thresholds = (0..=steps).rev().map(|step| LOWEST + STEP * step as f64);
        let mut found = Counted { alarms: 0, unusual: 0 };
        for threshold in thresholds {
            found = Counted::of(videos, threshold);
            if found.alarms >= ENOUGH {
                break;
            }
        }
        let per_unusual_frame = found.alarms.max(1) as f64 / found.unusual.max(1) as f64;
        Self { per_unusual_frame, alarms: found.alarms, frames }
    }

    /// The smoothed surprise above which [`AlarmRule::above`] is raised so many times in an hour of
    /// normal video, at so many frames an hour: `log10(θ · frames / alarms)`, where `θ` is
    /// [`AlarmFrequency::per_unusual_frame`]. At least 1, below which one frame in ten is unusual.
    pub fn threshold(&self, alarms_an_hour: f64, frames_an_hour: f64) -> f64 {
        (self.per_unusual_frame * frames_an_hour / alarms_an_hour).log10().max(LOWEST)
    }

    /// The rarest alarms, in an hour, that so much normal video says anything of: with 95 %
    /// confidence, what is not seen in it comes at most three times in as long. Thresholds for rarer
    /// ones rest on the tail that was fitted.
    pub fn rarest_seen(&self, frames_an_hour: f64) -> f64 {
        3.0 * frames_an_hour / self.frames.max(1) as f64
    }

    pub(super) fn is_valid(&self) -> bool {
        self.per_unusual_frame > 0.0
            && self.per_unusual_frame <= 1.0
            && self.alarms <= self.frames.max(1)
    }
}

/// What is above one threshold.
struct Counted {
    alarms: usize,
    unusual: usize,
}

impl Counted {
    fn of(videos: &[Vec<f64>], threshold: f64) -> Self {
        let mut counted = Self { alarms: 0, unusual: 0 };
        for video in videos {
            let mut alarm = AlarmRule::above(threshold).start();
            let mut stood = false;
            for &surprise in video {
                let stands = alarm.push(surprise);
                counted.alarms += usize::from(stands && !stood);
                counted.unusual += usize::from(surprise > threshold);
                stood = stands;
            }
        }
        counted
    }
}

impl Detector {
    /// The alarm that normal video raises so many times an hour, at so many frames an hour; nothing
    /// for a detector of a time that did not count alarms.
    pub fn alarm(&self, alarms_an_hour: f64, frames_an_hour: f64) -> Option<AlarmRule> {
        let threshold = self.alarms.as_ref()?.threshold(alarms_an_hour, frames_an_hour);
        Some(AlarmRule::above(threshold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of which every `apart`-th begins a run of `run` unusual ones of this surprise.
    fn video(frames: usize, apart: usize, run: usize, surprise: f64) -> Vec<f64> {
        (0..frames).map(|frame| if frame % apart < run { surprise } else { 0.1 }).collect()
    }

    #[test]
    fn alarms_are_counted_by_the_rule_where_there_are_enough() {
        // 40 runs of four frames of surprise 2.5 and, rarer, none: each run is one alarm.
        let runs = video(4000, 100, 4, 2.5);
        // A single odd frame is no alarm, however unusual.
        let odd = video(1000, 50, 1, 3.7);
        let found = AlarmFrequency::of(&[runs, odd]);
        assert_eq!((found.alarms, found.frames), (40, 5000));
        // Above 2.45 lie 160 frames of the runs and 20 single ones.
        assert!((found.per_unusual_frame - 40.0 / 180.0).abs() < 1e-12);
        assert!(found.is_valid());
    }

    #[test]
    fn a_threshold_is_for_alarms_an_hour() {
        let found = AlarmFrequency { per_unusual_frame: 0.25, alarms: 20, frames: 36_000 };
        // 36 000 frames an hour, of which one in 9000 may be unusual: a quarter of four alarms.
        assert!((found.threshold(1.0, 36_000.0) - 9000f64.log10()).abs() < 1e-12);
        assert!((found.threshold(10.0, 36_000.0) - 900f64.log10()).abs() < 1e-12);
        assert_eq!(found.threshold(1e6, 36_000.0), 1.0);
        // An hour of video in which nothing is seen: at most three an hour.
        assert_eq!(found.rarest_seen(36_000.0), 3.0);
    }

    #[test]
    fn little_video_without_an_alarm_assumes_one() {
        let found = AlarmFrequency::of(&[vec![0.2; 50], video(50, 50, 1, 2.0)]);
        assert_eq!((found.alarms, found.per_unusual_frame), (0, 1.0));
        assert!(AlarmFrequency::of(&[]).is_valid());
        assert!(!AlarmFrequency { alarms: 101, ..found }.is_valid());
        for wrong in [0.0, -1.0, 1.5, f64::NAN] {
            assert!(!AlarmFrequency { per_unusual_frame: wrong, ..found }.is_valid());
        }
    }

    #[test]
    fn runs_that_end_with_a_video_do_not_go_on_in_the_next() {
        let videos: Vec<Vec<f64>> = (0..20).map(|_| vec![0.1, 0.1, 2.0, 2.0]).collect();
        let found = AlarmFrequency::of(&videos);
        assert_eq!((found.alarms, found.frames), (20, 80));
        assert_eq!(found.per_unusual_frame, 0.5);
    }
}
