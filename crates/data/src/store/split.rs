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

/// Holds out the last `fraction` of every video. No clip crosses the cut.
///
/// A video too short to leave both parts `t + 1` frames stays whole in training; where the
/// fraction alone is too short, the held-out part is the shortest that gives a clip.
pub fn split_held_out(videos: &[DecodedVideo], shape: ClipShape, fraction: f64) -> HeldOutSplit {
    let mut split = HeldOutSplit { training: Vec::new(), held_out: Vec::new() };
    for video in videos {
        let frames = video.len();
        let share = (frames as f64 * fraction.clamp(0.0, 1.0)).round() as usize;
        let held_out = if share == 0 { 0 } else { share.max(shape.frames()) };
        if held_out == 0 || frames < held_out + shape.frames() {
            split.training.push(video.clone());
            continue;
        }
        split.training.push(video.part(0..frames - held_out));
        split.held_out.push(video.part(frames - held_out..frames));
    }
    split
}
