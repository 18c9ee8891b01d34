//! Held-out video, for calibration and choices.

use std::collections::BTreeMap;

use protoguard_core::ClipShape;

use super::DecodedVideo;

/// Training videos in two parts that share no frame.
#[derive(Clone, Debug)]
pub struct HeldOutSplit {
    /// What weights are fitted to.
    pub training: Vec<DecodedVideo>,
    /// What calibration and the validation loss rest on.
    pub held_out: Vec<DecodedVideo>,
}

/// As many videos of a scene as this are split as wholes.
const MANY: usize = 4;
/// Between the two parts of one video lies this share of the held-out part, in neither.
const GAP: f64 = 0.25;

/// Holds out `fraction` of every scene: whole videos, evenly spread over their order, where the
/// scene has four or more that give a clip, and the end of each video where it has fewer.
///
/// The end of a video that was learnt from shows the people that were learnt: bounds measured on it
/// raise false alarms elsewhere. So ends are the second choice, and lie behind a gap. No clip
/// crosses the cut. A video too short to be cut stays whole in training.
pub fn split_held_out(videos: &[DecodedVideo], shape: ClipShape, fraction: f64) -> HeldOutSplit {
    let fraction = fraction.clamp(0.0, 1.0);
    let mut by_scene: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
    for (index, video) in videos.iter().enumerate() {
        by_scene.entry(video.scene.as_deref()).or_default().push(index);
    }
    let mut whole = vec![false; videos.len()];
    let mut cut = vec![false; videos.len()];
    for scene in by_scene.values() {
        let long = |&&index: &&usize| videos[index].clip_count(shape) > 0;
        let long: Vec<usize> = scene.iter().filter(long).copied().collect();
        if long.len() < MANY {
            long.iter().for_each(|&index| cut[index] = true);
        } else {
            evenly(long.len(), fraction).for_each(|at| whole[long[at]] = true);
        }
    }
    let mut split = HeldOutSplit { training: Vec::new(), held_out: Vec::new() };
    for (index, video) in videos.iter().enumerate() {
        match (whole[index], cut[index]) {
            (true, _) => split.held_out.push(video.clone()),
            (_, true) => split.cut_end(video, shape, fraction),
            _ => split.training.push(video.clone()),
        }
    }
    split
}

/// Positions of a share of `count`, in the middle of equal stretches; one at least where the share
/// is not 0.
fn evenly(count: usize, share: f64) -> impl Iterator<Item = usize> {
    let wanted = (count as f64 * share).round() as usize;
    let wanted = if share > 0.0 { wanted.max(1) } else { 0 };
    (0..wanted).map(move |of| (2 * of + 1) * count / (2 * wanted))
}

impl HeldOutSplit {
    fn cut_end(&mut self, video: &DecodedVideo, shape: ClipShape, fraction: f64) {
        let frames = video.len();
        let share = (frames as f64 * fraction).round() as usize;
        let held_out = if share == 0 { 0 } else { share.max(shape.frames()) };
        let gap = (held_out as f64 * GAP).round() as usize;
        if held_out == 0 || frames < held_out + gap + shape.frames() {
            self.training.push(video.clone());
            return;
        }
        self.training.push(video.part(0..frames - held_out - gap));
        self.held_out.push(video.part(frames - held_out..frames));
    }
}
