use std::io::Cursor;

use image::{ExtendedColorType, ImageEncoder, ImageError};
use protoguard_core::Clip;
use protoguard_model::{Batch, ModelError, Network};
use tch::Device;

/// What a network makes of a clip: last past frame, target, prediction and error, side by side.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Height of each of the four.
    pub height: usize,
    /// Width of all four together.
    pub width: usize,
    /// RGB, row by row.
    pub pixels: Vec<u8>,
}

/// The factor by which the absolute error is brightened.
const GAIN: f32 = 4.0;

impl Picture {
    /// Predicts the clip's last frame with the frozen network and paints the result.
    ///
    /// # Errors
    /// When the forward pass fails.
    pub fn of(network: &Network, clip: &Clip) -> Result<Self, ModelError> {
        let batch = Batch::from_clips(std::slice::from_ref(clip), network.device())?;
        let prediction = network.forward_inference(&batch.input, false)?.prediction;
        let unit = prediction.f_add_scalar(1.0)?.f_mul_scalar(0.5)?.f_permute([0, 2, 3, 1])?;
        let values = unit.f_to_device(Device::Cpu)?.f_contiguous()?.f_view([-1])?;
        Ok(Self::paint(clip, &Vec::<f32>::try_from(&values)?))
    }

    /// `predicted` is `[S, S, 3]` in [0, 1].
    fn paint(clip: &Clip, predicted: &[f32]) -> Self {
        let side = clip.shape().side();
        let last = clip.past().last().map_or(&[][..], |frame| frame.pixels());
        let target = clip.target().map_or(last, |frame| frame.pixels());
        let made: Vec<u8> = predicted.iter().map(|value| to_byte(value * 255.0)).collect();
        let error: Vec<u8> = made
            .iter()
            .zip(target)
            .map(|(&made, &target)| to_byte(GAIN * f32::from(made.abs_diff(target))))
            .collect();
        let row = 3 * side;
        let mut pixels = Vec::with_capacity(4 * row * side);
        for y in 0..side {
            for plane in [last, target, &made, &error] {
                pixels.extend_from_slice(plane.get(y * row..(y + 1) * row).unwrap_or(&[]));
            }
        }
        Self { height: side, width: 4 * side, pixels }
    }

    /// The picture as a PNG file.
    ///
    /// # Errors
    /// When the encoder refuses.
    pub fn to_png(&self) -> Result<Vec<u8>, ImageError> {
        let mut png = Cursor::new(Vec::new());
        let (width, height) = (self.width as u32, self.height as u32);
        image::codecs::png::PngEncoder::new(&mut png).write_image(
            &self.pixels,
            width,
            height,
            ExtendedColorType::Rgb8,
        )?;
        Ok(png.into_inner())
    }
}

fn to_byte(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use protoguard_core::{ClipShape, Frame};

    use super::*;

    #[test]
    fn four_pictures_side_by_side() {
        let shape = ClipShape::new(1, 16).unwrap();
        let frame = |value| Frame::new(16, 16, vec![value; 768]).unwrap();
        let clip = Clip::new(shape, vec![frame(10), frame(20)]).unwrap();
        let picture = Picture::paint(&clip, &vec![30.0 / 255.0; 768]);
        assert_eq!((picture.height, picture.width, picture.pixels.len()), (16, 64, 4 * 768));
        let row: Vec<u8> = picture.pixels[..4 * 48].chunks(48).map(|plane| plane[7]).collect();
        assert_eq!(row, [10, 20, 30, 40]);
        assert_eq!(&picture.to_png().unwrap()[1..4], b"PNG");
    }
}
