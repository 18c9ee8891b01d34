//! Drawn scenes, for tests, demonstrations and labelled anomalies that no licence binds.
//!
//! One fixed camera looks at paving between strips of grass, with light perspective. People of
//! varied size, speed and clothes walk in one stream, alone and in pairs, now few and now many:
//! copying the last frame therefore costs much on crowded normal frames, and an anomaly cannot be
//! told by how much moves. Test videos each have one stretch with something that training never
//! shows. The crowd, the light and the noise are drawn without regard to that stretch, so that
//! nothing but the anomaly itself gives it away.
//!
//! Everything follows from a seed; frames can be drawn in any order and in parallel.

mod anomaly;
mod canvas;
mod config;
mod crowd;
mod figure;
mod ground;
mod mover;
mod noise;
mod probe;
mod scene;
mod track;

pub use anomaly::{AnomalyKind, AnomalySpan};
pub use config::{SceneError, SynthConfig};
pub use mover::{DrawnPixel, Mover};
pub use probe::test_clip;
pub use scene::{Rendered, Scene};
