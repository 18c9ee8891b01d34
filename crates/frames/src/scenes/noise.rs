//! Smooth noise, and the noise of a camera.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, RngExt};

/// Smooth noise in [-1, 1]: random values on a lattice, blended between its points.
pub(super) struct ValueNoise {
    columns: usize,
    rows: usize,
    lattice: Vec<f32>,
}

impl ValueNoise {
    /// A lattice of `rows` × `columns` points.
    pub(super) fn new(rows: usize, columns: usize, rng: &mut ChaCha8Rng) -> Self {
        let (rows, columns) = (rows.max(2), columns.max(2));
        let lattice = (0..rows * columns).map(|_| rng.random_range(-1.0..1.0)).collect();
        Self { columns, rows, lattice }
    }

    /// The value at `x`, `y`, each in [0, 1] from one edge of the lattice to the other.
    pub(super) fn at(&self, x: f32, y: f32) -> f32 {
        let (x, y) = (x * (self.columns - 1) as f32, y * (self.rows - 1) as f32);
        let column = (x as usize).min(self.columns - 2);
        let row = (y as usize).min(self.rows - 2);
        let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
        let (u, v) = (smooth(x - column as f32), smooth(y - row as f32));
        let value = |dy: usize, dx: usize| self.lattice[(row + dy) * self.columns + column + dx];
        let upper = value(0, 0) + (value(0, 1) - value(0, 0)) * u;
        let lower = value(1, 0) + (value(1, 1) - value(1, 0)) * u;
        upper + (lower - upper) * v
    }
}

/// Adds independent noise of standard deviation `sigma` and rounds to grey levels.
///
/// A sample is the sum of the four bytes of a random word: its distribution is within two
/// percent of a Gaussian's and costs no logarithm.
pub(super) fn expose(values: &[f32], sigma: f32, rng: &mut ChaCha8Rng) -> Vec<u8> {
    const MEAN: f32 = 4.0 * 127.5;
    /// `sqrt(4 (256² - 1) / 12)`.
    const DEVIATION: f32 = 147.8;
    let mut random = vec![0; values.len() * 4];
    rng.fill_bytes(&mut random);
    let sample = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>() as f32;
    values
        .iter()
        .zip(random.chunks_exact(4))
        .map(|(value, bytes)| (value + (sample(bytes) - MEAN) * (sigma / DEVIATION)).round() as u8)
        .collect()
}
