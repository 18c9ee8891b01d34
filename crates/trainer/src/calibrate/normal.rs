//! Normal video with its scores, by camera.

use std::collections::BTreeMap;

use protoguard_core::{Calibration, ClipShape, Recipe, Scorer};
use protoguard_datasets::DecodedVideo;

use super::{CalibrateError, CalibrationOptions, NormalVideo};
use crate::progress;
use crate::scoring::{ScoredVideo, ScoringOptions, score_videos};

/// Clips of learnt video that distributions are made of: half an hour at ten frames a second.
pub(crate) const LEARNT_CLIPS: usize = 20_000;
/// Parts that they are taken from in each video.
const STRETCHES: usize = 8;

/// With fewer normal clips the rarest hundredth is three frames or less.
const ENOUGH_CLIPS: usize = 300;

/// Normal video and its scores.
pub(super) struct ScoredNormal {
    pub(super) held_out: Vec<NormalScores>,
    pub(super) learnt: Vec<NormalScores>,
}

/// A normal video and its scores.
pub(super) struct NormalScores {
    pub(super) video: DecodedVideo,
    pub(super) scored: ScoredVideo,
}

impl ScoredNormal {
    pub(super) fn new(
        scorer: &mut dyn Scorer,
        normal: NormalVideo<'_>,
        shape: ClipShape,
        options: &CalibrationOptions,
    ) -> Result<Self, CalibrateError> {
        let scoring = ScoringOptions {
            batch_size: options.batch_size,
            keep_maps: false,
            zones: &|_| options.zones.as_ref(),
            bar: progress::bar(0, "calibrating"),
            interrupt: options.interrupt,
        };
        let mut score = |videos: Vec<DecodedVideo>| -> Result<Vec<NormalScores>, CalibrateError> {
            let scored = score_videos(scorer, &videos, shape, &scoring)?;
            let pairs = videos.into_iter().zip(scored);
            Ok(pairs.map(|(video, scored)| NormalScores { video, scored }).collect())
        };
        let held_out = score(normal.held_out.to_vec())?;
        Ok(Self { held_out, learnt: score(spread(normal.learnt, shape, LEARNT_CLIPS))? })
    }

    pub(super) fn calibrations(
        &self,
        options: &CalibrationOptions,
    ) -> Result<Vec<Calibration>, CalibrateError> {
        let mut by_scene: BTreeMap<&str, Scored<'_>> = BTreeMap::new();
        for video in &self.held_out {
            if let Some(scene) = &video.scored.scene {
                by_scene.entry(scene).or_default().held_out.push(video);
            }
        }
        for video in &self.learnt {
            let scene = video.scored.scene.as_deref().and_then(|scene| by_scene.get_mut(scene));
            if let Some(of_scene) = scene {
                of_scene.learnt.push(video);
            }
        }
        let all = Scored {
            held_out: self.held_out.iter().collect(),
            learnt: self.learnt.iter().collect(),
            // What several cameras have in common says nothing of how one looks.
            one_camera: by_scene.len() < 2,
        };
        let clips = all.clips();
        if clips < ENOUGH_CLIPS {
            tracing::warn!(
                clips,
                enough = ENOUGH_CLIPS,
                "little normal video: more than 1 % of normal frames may lie above the alarm's threshold"
            );
        }
        let mut calibrations = vec![options.calibration(None, &all)?];
        for (scene, videos) in by_scene {
            let clips = videos.clips();
            if clips < Recipe::MIN_CLIPS {
                let needed = Recipe::MIN_CLIPS;
                tracing::warn!(
                    scene,
                    clips,
                    needed,
                    "too little held-out video: the scene gets no calibration of its own"
                );
                continue;
            }
            calibrations.push(options.calibration(Some(scene), &videos)?);
        }
        Ok(calibrations)
    }
}

/// The scores of the normal video of a calibration.
pub(super) struct Scored<'a> {
    pub(super) held_out: Vec<&'a NormalScores>,
    pub(super) learnt: Vec<&'a NormalScores>,
    pub(super) one_camera: bool,
}

impl Default for Scored<'_> {
    fn default() -> Self {
        Self { held_out: Vec::new(), learnt: Vec::new(), one_camera: true }
    }
}

impl Scored<'_> {
    /// Of held-out video.
    fn clips(&self) -> usize {
        self.held_out.iter().map(|video| video.scored.scores.len()).sum()
    }
}

/// At most `most` clips, each video's share of them in [`STRETCHES`] parts evenly over it: the
/// beginning of a day is its night.
pub(super) fn spread(videos: &[DecodedVideo], shape: ClipShape, most: usize) -> Vec<DecodedVideo> {
    let clips: usize = videos.iter().map(|video| video.clip_count(shape)).sum();
    if clips <= most {
        return videos.to_vec();
    }
    let (mut before, mut taken, mut parts) = (0, 0, Vec::new());
    for video in videos {
        let of_video = video.clip_count(shape);
        before += of_video;
        // What rounding leaves goes to the next video.
        let kept = before * most / clips - taken;
        taken += kept;
        let stretches = kept.min(STRETCHES);
        for stretch in 0..stretches {
            let [from, to] = [stretch, stretch + 1].map(|at| at * kept / stretches);
            let first = stretch * of_video / stretches;
            parts.push(video.part(first..first + to - from + shape.past_frames()));
        }
    }
    parts
}
