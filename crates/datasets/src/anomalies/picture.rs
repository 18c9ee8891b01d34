//! One frame that is being changed.

use protoguard_core::{CHANNELS, Frame, Mask};

/// A frame that things are laid over.
pub(super) struct Picture<'a> {
    frame: &'a Frame,
    /// `[height, width, 3]` grey levels.
    values: Vec<f32>,
    /// How far each pixel is covered with what is put in, in [0, 1].
    cover: Vec<f32>,
}

/// A changed frame.
pub(super) struct Change {
    pub(super) frame: Frame,
    /// Where it shows.
    pub(super) mask: Mask,
    /// Whether any pixel differs from the original.
    pub(super) differs: bool,
}

/// Covered so far, a pixel belongs to what was put in.
const SHOWS: f32 = 0.35;

impl<'a> Picture<'a> {
    pub(super) fn over(frame: &'a Frame) -> Self {
        let values = frame.pixels().iter().map(|&value| f32::from(value)).collect();
        Self { frame, values, cover: vec![0.0; frame.height() * frame.width()] }
    }

    pub(super) fn height(&self) -> usize {
        self.frame.height()
    }

    pub(super) fn width(&self) -> usize {
        self.frame.width()
    }

    /// Lays a colour of what is put in over a pixel.
    pub(super) fn lay(&mut self, y: usize, x: usize, colour: [f32; CHANNELS], opacity: f32) {
        let at = y * self.width() + x;
        self.cover[at] = self.cover[at].max(opacity);
        self.blend(y, x, colour, opacity);
    }

    /// Lays a colour over a pixel that shows nothing of what is put in.
    pub(super) fn blend(&mut self, y: usize, x: usize, colour: [f32; CHANNELS], opacity: f32) {
        let at = (y * self.width() + x) * CHANNELS;
        for (value, colour) in self.values[at..].iter_mut().zip(colour) {
            *value += (colour - *value) * opacity;
        }
    }

    pub(super) fn finish(self) -> Change {
        let (height, width) = (self.height(), self.width());
        // A float beyond the range takes the nearer end; what was not covered is as it was.
        let pixels: Vec<u8> = self.values.iter().map(|value| value.round() as u8).collect();
        let differs = pixels != self.frame.pixels();
        let mask = Mask::from_fn(height, width, |y, x| self.cover[y * width + x] >= SHOWS);
        let frame = Frame::new(height, width, pixels).expect("as many pixels as the frame has");
        Change { frame, mask, differs }
    }
}
