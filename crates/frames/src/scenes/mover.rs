//! A drawn thing over frames that are not drawn.

use protoguard_core::Frame;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::anomaly::AnomalyKind;
use super::canvas::{Canvas, Rgb};
use super::figure::{Figure, Person};
use super::ground::muted;
use super::track::Step;

/// A drawn thing that is laid over frames that are not drawn.
pub struct Mover {
    figure: Figure,
    hop: Option<f32>,
    gray: bool,
}

/// A pixel that it covers.
pub struct DrawnPixel {
    /// Row in the frame.
    pub y: usize,
    /// Column in the frame.
    pub x: usize,
    /// RGB, each channel from 0 to 255.
    pub colour: Rgb,
}

impl Mover {
    /// A cart, a thrown object, or else a cyclist, beside people of `height` pixels.
    pub fn draw(kind: AnomalyKind, height: f32, rng: &mut ChaCha8Rng) -> Self {
        let figure = match kind {
            AnomalyKind::Cart => {
                let (panel, trim) = (muted(rng, 60.0..210.0, 28.0), muted(rng, 40.0..190.0, 20.0));
                Figure::Cart { height: height * rng.random_range(0.9..1.2), panel, trim }
            }
            AnomalyKind::ThrownObject => {
                let radius = (height * rng.random_range(0.22..0.32)).max(2.0);
                let halves = [muted(rng, 40.0..90.0, 25.0), muted(rng, 170.0..225.0, 25.0)];
                Figure::Object { radius, halves }
            }
            _ => Figure::Cyclist(Person::draw(height, rng)),
        };
        let hop = (kind == AnomalyKind::ThrownObject).then_some(height * 0.8);
        Self { figure, hop, gray: false }
    }

    /// For a camera that sees none.
    pub fn without_colour(&mut self) {
        self.gray = true;
    }

    /// Half of what it covers from left to right, in pixels.
    pub fn reach(&self) -> f32 {
        self.figure.reach()
    }

    /// The pixels that it covers of a frame, when it touches the ground at `place` (x, y) after
    /// so many pixels travelled, facing to the right where positive.
    pub fn pixels(
        &self,
        frame: &Frame,
        [x, y]: [f32; 2],
        [travelled, facing]: [f32; 2],
    ) -> Vec<DrawnPixel> {
        let lift = self.hop.map_or(0.0, |hop| {
            let share = (travelled / (hop * 2.5)).fract();
            hop * 4.0 * share * (1.0 - share)
        });
        let mut canvas = Canvas::over_frame(frame);
        let step = Step { x, y, lift, travelled, facing, gesture: 0.0 };
        self.figure.paint(&mut canvas, &step, 1.0);
        let (drawn, _) = canvas.values.as_chunks::<3>();
        let (plain, _) = frame.pixels().as_chunks::<3>();
        let covered = drawn.iter().zip(plain).enumerate().filter(|(_, (drawn, plain))| {
            drawn.iter().zip(*plain).any(|(&now, &then)| (now - f32::from(then)).abs() >= 2.0)
        });
        let pixel = |(at, (drawn, _)): (usize, (&Rgb, &[u8; 3]))| {
            let luma = 0.299 * drawn[0] + 0.587 * drawn[1] + 0.114 * drawn[2];
            let colour = if self.gray { [luma; 3] } else { *drawn };
            DrawnPixel { y: at / frame.width(), x: at % frame.width(), colour }
        };
        covered.map(pixel).collect()
    }
}
