//! A scorer without a network, for tests of everything around one.

mod batching;
mod decoding;

use std::fmt;
use std::sync::Arc;

use protoguard_core::normalise::FrameScore;
use protoguard_core::{
    CHANNELS, CalibratedPart, Calibration, Clip, ClipMaps, ClipScore, ClipShape, Detector,
    FeatureDistance, Frame, ModelCard, Normal, Part, Plane, PsnrDb, Scorer, ScorerError,
    ScorerFactory, ScorerInput,
};

use crate::registry::source::ModelSpec;

pub use batching::batches_of;
pub use decoding::decode_clip;

/// Called with every batch before it is scored: a test counts, blocks, fails or panics in it.
pub type ScoreHook = dyn Fn(&[ScorerInput]) -> Result<(), ScorerError> + Send + Sync;

/// Called before a replica is built.
pub type BuildHook = dyn Fn() -> Result<(), ScorerError> + Send + Sync;

/// Called when a replica is told to release memory.
pub type ReleaseHook = dyn Fn() + Send + Sync;

/// Makes [`FakeScorer`]s.
#[derive(Clone)]
pub struct FakeFactory {
    card: ModelCard,
    on_build: Arc<BuildHook>,
    on_score: Arc<ScoreHook>,
    on_release: Arc<ReleaseHook>,
}

/// Predicts that nothing moves: the copy-frame baseline behind the port of a model.
///
/// The PSNR is that of the last past frame against the target; the feature distance is the mean
/// of the first frame over 255, so that a test knows it beforehand.
pub struct FakeScorer {
    on_score: Arc<ScoreHook>,
    on_release: Arc<ReleaseHook>,
}

impl FakeFactory {
    /// A model `name` of 4 past frames of 16 × 16 pixels with a memory, a motion branch and
    /// calibrations for all scenes and for the scene `hall`.
    pub fn new(name: &str) -> Self {
        let held_out: Vec<FrameScore> = (0..100)
            .map(|i| FrameScore {
                psnr: PsnrDb(20.0 + f64::from(i) * 0.2),
                feature_distance: Some(FeatureDistance(f64::from(i) * 0.01)),
            })
            .collect();
        let calibration = |scene| {
            Calibration::from_held_out(scene, &held_out, 0.6).expect("the scores are finite")
        };
        let card = ModelCard {
            name: name.to_owned(),
            version: "fake".to_owned(),
            shape: ClipShape::new(4, 16).expect("16 is a multiple of 8"),
            base_width: 8,
            memory_items: 10,
            motion_branch: true,
            precision: "f32".to_owned(),
            device: "cpu".to_owned(),
            frame_interval: None,
            training_data: "none".to_owned(),
            metrics: [("validation_loss".to_owned(), 0.5)].into(),
            calibrations: vec![calibration(None), calibration(Some("hall"))],
        };
        Self {
            card,
            on_build: Arc::new(|| Ok(())),
            on_score: Arc::new(|_| Ok(())),
            on_release: Arc::new(|| ()),
        }
    }

    /// Changes the card.
    #[must_use]
    pub fn with_card(mut self, change: impl FnOnce(&mut ModelCard)) -> Self {
        change(&mut self.card);
        self
    }

    /// Calls `hook` before a replica is built.
    #[must_use]
    pub fn on_build(
        mut self,
        hook: impl Fn() -> Result<(), ScorerError> + Send + Sync + 'static,
    ) -> Self {
        self.on_build = Arc::new(hook);
        self
    }

    /// Calls `hook` with every batch.
    #[must_use]
    pub fn on_score(
        mut self,
        hook: impl Fn(&[ScorerInput]) -> Result<(), ScorerError> + Send + Sync + 'static,
    ) -> Self {
        self.on_score = Arc::new(hook);
        self
    }

    /// Calls `hook` when a replica is told to release memory.
    #[must_use]
    pub fn on_release(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_release = Arc::new(hook);
        self
    }

    /// A model with this many workers.
    pub fn spec(self, workers: usize) -> ModelSpec {
        let factory: Arc<dyn ScorerFactory> = Arc::new(self);
        ModelSpec { replicas: vec![factory; workers] }
    }
}

impl fmt::Debug for FakeFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FakeFactory({})", self.card.name)
    }
}

impl ScorerFactory for FakeFactory {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn build(&self) -> Result<Box<dyn Scorer>, ScorerError> {
        (self.on_build)()?;
        let on_score = Arc::clone(&self.on_score);
        let on_release = Arc::clone(&self.on_release);
        Ok(Box::new(FakeScorer { on_score, on_release }))
    }
}

impl Scorer for FakeScorer {
    fn score(&mut self, batch: &[ScorerInput]) -> Result<Vec<ClipScore>, ScorerError> {
        (self.on_score)(batch)?;
        Ok(batch.iter().map(score_one).collect())
    }

    fn release_memory(&mut self) {
        (self.on_release)();
    }
}

/// A detector of the whole frame's error in dB: every 10 dB above -40 are one surprise more than
/// 1, and so is the sum's.
pub fn detector() -> Detector {
    let scale = |unit: f64| unit / std::f64::consts::LN_10;
    let normal = |knots: [f64; 2], unit| Normal {
        knots: knots.into(),
        tail_share: 0.1,
        scale: scale(unit),
        shape: 0.0,
    };
    let error = normal([-60.0, -40.0], 10.0);
    let sum = normal([0.0, 1.0], 1.0);
    let part = CalibratedPart {
        part: Part::PredictionError,
        weight: 1.0,
        trust: 1.0,
        slope: 0.0,
        normal: error,
    };
    Detector {
        parts: vec![part],
        knee: 3.0,
        keep: 0.5,
        max_slope: 0.0,
        instant: sum.clone(),
        smoothed: sum,
        alarms: None,
    }
}

/// What every [`FakeScorer`] says of a clip, in a batch or alone.
pub fn score_one(input: &ScorerInput) -> ClipScore {
    let ScorerInput { clip, outputs } = input;
    let first = clip.frames()[0].pixels();
    let mean = first.iter().map(|&v| f64::from(v)).sum::<f64>() / first.len() as f64;
    let last = &clip.past()[clip.shape().past_frames() - 1];
    let difference = |past: &Frame| difference(past, last);
    ClipScore {
        psnr: clip.copy_frame_psnr(),
        feature_distance: Some(FeatureDistance(mean / 255.0)),
        maps: clip.target().map(|target| maps(clip, last, target)),
        predicted_frame: outputs.predicted_frame.then(|| {
            plane(clip, CHANNELS, last.pixels().iter().map(|&v| f32::from(v) / 255.0).collect())
        }),
        rgb_difference: if outputs.rgb_difference {
            clip.past().iter().map(difference).map(|v| plane(clip, CHANNELS, v)).collect()
        } else {
            Vec::new()
        },
        error_map: clip.target().filter(|_| outputs.error_map).map(|target| {
            let squares = |rgb: &[f32]| rgb.iter().map(|v| v * v / 4.0).sum::<f32>() / 3.0;
            plane(clip, 1, difference(target).chunks_exact(CHANNELS).map(squares).collect())
        }),
    }
}

/// Maps of the baseline, one cell a pixel: its error, all of which is motion, and no speed.
fn maps(clip: &Clip, last: &Frame, target: &Frame) -> ClipMaps {
    let squares = |rgb: &[f32]| rgb.iter().map(|v| v * v / 4.0).sum::<f32>() / 3.0;
    let error = difference(target, last).chunks_exact(CHANNELS).map(squares).collect();
    let error = plane(clip, 1, error);
    let speed = Plane { values: vec![0.0; error.values.len()].into(), ..error.clone() };
    ClipMaps { moved: error.clone(), error, speed, feature_distance: None }
}

/// `past - last`, of frames in [-1, 1].
fn difference(past: &Frame, last: &Frame) -> Vec<f32> {
    let pairs = past.pixels().iter().zip(last.pixels());
    pairs.map(|(&a, &b)| (f32::from(a) - f32::from(b)) / 127.5).collect()
}

fn plane(clip: &Clip, channels: usize, values: Vec<f32>) -> Plane {
    let side = clip.shape().side();
    Plane { height: side, width: side, channels, values: values.into() }
}
