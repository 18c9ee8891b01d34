//! Paving, grass and their perspective.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::canvas::Rgb;
use super::noise::ValueNoise;

/// The empty scene, and where people walk in it.
pub(super) struct Ground {
    pub(super) height: usize,
    pub(super) width: usize,
    /// `[height, width, 3]` grey levels.
    pub(super) values: Vec<f32>,
}

/// The paving, in shares of the height: grass lies above and below.
const PAVING: [f32; 2] = [0.24, 0.97];

impl Ground {
    pub(super) fn draw(height: usize, width: usize, rng: &mut ChaCha8Rng) -> Self {
        let broad = ValueNoise::new(5, 7, rng);
        let fine = ValueNoise::new(height / 3, width / 3, rng);
        let paving = muted(rng, 118.0..150.0, 10.0);
        let grass = [62.0, 92.0, 54.0].map(|v: f32| v + rng.random_range(-10.0..10.0));
        let tone: Vec<f32> = (0..64).map(|_| rng.random_range(-5.0..5.0)).collect();
        let mut values = Vec::with_capacity(height * width * 3);
        for y in 0..height {
            for x in 0..width {
                let (u, v) = (x as f32 / width as f32, y as f32 / height as f32);
                let (broad, fine) = (broad.at(u, v), fine.at(u, v));
                let edge = ((v - PAVING[0]).min(PAVING[1] - v) * 40.0 + broad).clamp(0.0, 1.0);
                let slab = Slab::at(u, v);
                let stone = slab.light(&tone) + 9.0 * broad + 5.0 * fine;
                let blades = 12.0 * broad + 16.0 * fine;
                let mix =
                    |c: usize| (paving[c] + stone) * edge + (grass[c] + blades) * (1.0 - edge);
                values.extend((0..3).map(mix));
            }
        }
        Self { height, width, values }
    }

    /// The nearest and farthest lines, in pixels, on which feet may stand.
    pub(super) fn walkway(height: usize) -> [f32; 2] {
        [0.34 * height as f32, 0.93 * height as f32]
    }

    /// How large things are whose feet stand at `y` pixels: 1 in the middle of the paving.
    pub(super) fn scale(height: usize, y: f32) -> f32 {
        0.72 + 0.44 * y / height as f32
    }
}

/// A paving stone. Rows grow towards the viewer as people do.
struct Slab {
    number: usize,
    joint: f32,
}

impl Slab {
    fn at(u: f32, v: f32) -> Self {
        let depth = 9.0 * (0.72 * v + 0.22 * v * v);
        let row = depth.floor();
        let across = (u - 0.5) / (0.72 + 0.44 * v) * 9.0 + 0.5 * (row % 2.0) + 50.0;
        let to_edge = |value: f32| (value - value.round()).abs();
        let joint = 1.0 - (to_edge(depth) * 8.0).min(to_edge(across) * 8.0).min(1.0);
        Self { number: row as usize * 13 + across as usize * 7, joint }
    }

    fn light(&self, tone: &[f32]) -> f32 {
        tone[self.number % tone.len()] - 14.0 * self.joint
    }
}

/// A colour of little saturation around a brightness drawn from `light`.
pub(super) fn muted(rng: &mut ChaCha8Rng, light: std::ops::Range<f32>, spread: f32) -> Rgb {
    let light = rng.random_range(light);
    std::array::from_fn(|_| light + rng.random_range(-spread..spread))
}
