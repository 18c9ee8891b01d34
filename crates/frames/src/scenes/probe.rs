//! The built-in clips.

use protoguard_core::{Clip, ClipShape, Frame};

use super::anomaly::AnomalyKind;
use super::config::SynthConfig;
use super::scene::Scene;
use crate::resize;

/// A small built-in clip: walkers only, or a cyclist among them. A server can be probed with it
/// by somebody who has no frames at hand.
///
/// It is drawn from the default seed, so that a model trained on that seed's scenes knows the
/// ground but not these people.
pub fn test_clip(shape: ClipShape, anomalous: bool) -> Clip {
    let needed = shape.frames();
    let config = SynthConfig {
        frames_per_video: SynthConfig::default().frames_per_video.max(6 * needed),
        ..SynthConfig::default()
    };
    // Beyond every video of a usual data set.
    let scene = Scene::testing_with(&config, 4096, AnomalyKind::Cyclist);
    let start = match scene.anomaly() {
        // Six frames in, the first cyclist is well within the picture.
        Some(span) if anomalous => (span.first_frame + 6).min(config.frames_per_video - needed),
        _ => 0,
    };
    let frames: Vec<Frame> =
        (start..start + needed).map(|frame| resize(&scene.frame(frame), shape.side())).collect();
    Clip::new(shape, frames).expect("as many frames as the shape asks for, at its side")
}
