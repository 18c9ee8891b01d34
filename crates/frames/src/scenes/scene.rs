//! One video: what is in it, and drawing its frames.

use protoguard_core::Frame;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rayon::prelude::*;

use super::anomaly::{AnomalyKind, AnomalySpan, Event};
use super::canvas::Canvas;
use super::config::{Source, SynthConfig, VideoId};
use super::crowd::{Actor, Stage, walkers};
use super::ground::Ground;
use super::noise::expose;

/// One video, planned but not yet drawn: any of its frames can be drawn at any time.
pub struct Scene {
    config: SynthConfig,
    video: VideoId,
    ground: Ground,
    actors: Vec<Actor>,
    anomaly: Option<AnomalySpan>,
    light: Light,
}

/// A drawn video.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The frames in temporal order.
    pub frames: Vec<Frame>,
    /// One a frame; `true` is abnormal.
    pub labels: Vec<bool>,
}

impl Scene {
    /// Normal video number `index`.
    pub fn training(config: &SynthConfig, index: usize) -> Self {
        Self::plan(config, VideoId { testing: false, index }, None)
    }

    /// Test video number `index`, whose anomaly is that of its turn.
    pub fn testing(config: &SynthConfig, index: usize) -> Self {
        let kind = AnomalyKind::ALL[index % AnomalyKind::ALL.len()];
        Self::testing_with(config, index, kind)
    }

    /// Test video number `index` with a given kind of anomaly.
    pub fn testing_with(config: &SynthConfig, index: usize, kind: AnomalyKind) -> Self {
        Self::plan(config, VideoId { testing: true, index }, Some(kind))
    }

    fn plan(config: &SynthConfig, video: VideoId, kind: Option<AnomalyKind>) -> Self {
        let SynthConfig { height, width, frames_per_video: frames, .. } = *config;
        let stage = Stage { height, width, frames };
        let mut actors = walkers(stage, &mut config.rng(Source::Crowd(video)));
        let mut rng = config.rng(Source::Anomaly(video));
        let event = kind.map(|kind| Event::draw(kind, stage, &mut rng));
        let anomaly = event.as_ref().map(|event| event.span);
        actors.extend(event.into_iter().flat_map(|event| event.actors));
        Self {
            config: *config,
            video,
            ground: Ground::draw(height, width, &mut config.rng(Source::Ground)),
            actors,
            anomaly,
            light: Light::draw(&mut config.rng(Source::Light(video))),
        }
    }

    /// Frames of the video.
    pub fn frames(&self) -> usize {
        self.config.frames_per_video
    }

    /// The stretch that is anomalous, in a test video.
    pub fn anomaly(&self) -> Option<AnomalySpan> {
        self.anomaly
    }

    /// Whether a frame is anomalous.
    pub fn label(&self, frame: usize) -> bool {
        self.anomaly.is_some_and(|span| span.contains(frame))
    }

    /// Draws one frame.
    pub fn frame(&self, frame: usize) -> Frame {
        let SynthConfig { height, width, .. } = self.config;
        let mut canvas = Canvas::over(&self.ground);
        let mut present: Vec<_> = self
            .actors
            .iter()
            .filter_map(|actor| actor.track.at(frame).map(|step| (actor, step)))
            .collect();
        // Who stands nearer hides who stands behind.
        present.sort_by(|(_, a), (_, b)| a.y.total_cmp(&b.y));
        for (actor, step) in present {
            actor.figure.paint(&mut canvas, step, Ground::scale(height, step.y));
        }
        self.light.fall(&mut canvas.values, frame);
        let mut rng = self.config.rng(Source::Noise(self.video, frame));
        let pixels = expose(&canvas.values, self.light.noise, &mut rng);
        Frame::new(height, width, pixels).expect("the canvas has the size that was checked")
    }

    /// Draws the whole video, in parallel on rayon's threads.
    pub fn render(&self) -> Rendered {
        let frames = (0..self.frames()).into_par_iter().map(|frame| self.frame(frame)).collect();
        Rendered { frames, labels: (0..self.frames()).map(|frame| self.label(frame)).collect() }
    }
}

/// The light of one video, and the camera's noise in it.
struct Light {
    level: f32,
    /// Share by which the light comes and goes, over `period` frames.
    change: f32,
    period: f32,
    phase: f32,
    tint: [f32; 3],
    /// Standard deviation in grey levels.
    noise: f32,
}

impl Light {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        Self {
            level: rng.random_range(0.95..1.05),
            change: rng.random_range(0.01..0.05),
            period: rng.random_range(150.0..400.0),
            phase: rng.random_range(0.0..std::f32::consts::TAU),
            tint: std::array::from_fn(|_| rng.random_range(0.985..1.015)),
            noise: rng.random_range(2.2..2.8),
        }
    }

    fn fall(&self, values: &mut [f32], frame: usize) {
        let turn = frame as f32 / self.period * std::f32::consts::TAU + self.phase;
        let level = self.level * (1.0 + self.change * turn.sin());
        let gain = self.tint.map(|tint| tint * level);
        for pixel in values.chunks_exact_mut(3) {
            for (value, gain) in pixel.iter_mut().zip(gain) {
                *value *= gain;
            }
        }
    }
}
