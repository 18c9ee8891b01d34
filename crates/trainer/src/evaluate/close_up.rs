//! What the model saw in single frames.

use anyhow::Context;
use protoguard_core::{Clip, ClipScore, ClipShape, Outputs, Scorer, ScorerInput};
use protoguard_datasets::DecodedVideo;

use super::chosen::{Chosen, ChosenFrame};

/// A frame, its clip and everything that the model made of it.
#[derive(Clone, Debug)]
pub struct CloseUp {
    /// Which frame.
    pub frame: ChosenFrame,
    /// The clip whose target it is.
    pub clip: Clip,
    /// Scores and pictures.
    pub score: ClipScore,
}

/// The close-ups of [`Chosen`], list by list.
#[derive(Clone, Debug, Default)]
pub struct CloseUps {
    /// The highest anomaly scores.
    pub anomalous: Vec<CloseUp>,
    /// Normal frames of high anomaly scores.
    pub false_alarms: Vec<CloseUp>,
    /// Abnormal frames of low anomaly scores.
    pub misses: Vec<CloseUp>,
}

impl CloseUps {
    /// Scores the chosen frames again, with pictures, one at a time: they are few.
    ///
    /// # Errors
    /// When a frame cannot be read or the forward pass fails.
    pub fn take(
        scorer: &mut dyn Scorer,
        videos: &[DecodedVideo],
        shape: ClipShape,
        chosen: &Chosen,
    ) -> anyhow::Result<Self> {
        let mut take = |frames: &[ChosenFrame]| -> anyhow::Result<Vec<CloseUp>> {
            frames.iter().map(|frame| close_up(scorer, videos, shape, *frame)).collect()
        };
        Ok(Self {
            anomalous: take(&chosen.anomalous)?,
            false_alarms: take(&chosen.false_alarms)?,
            misses: take(&chosen.misses)?,
        })
    }
}

fn close_up(
    scorer: &mut dyn Scorer,
    videos: &[DecodedVideo],
    shape: ClipShape,
    frame: ChosenFrame,
) -> anyhow::Result<CloseUp> {
    let clip = videos[frame.video].clip_at(shape, frame.position)?;
    let clip = clip.context("a scored frame has a clip")?;
    let input = ScorerInput { clip: clip.clone(), outputs: Outputs::ALL };
    let score = scorer.score(&[input])?.pop().context("one clip gives one score")?;
    Ok(CloseUp { frame, clip, score })
}
