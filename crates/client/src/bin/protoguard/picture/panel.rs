//! What the model saw in one clip: the last past frame, the target, the prediction, the error map
//! and the RGB difference, generated beside true.

use image::{Rgb, RgbImage, imageops};
use plotters::prelude::*;
use protoguard_core::{Clip, Plane, Region};
use protoguard_frames::picture::{
    difference_pixels, error_pixels, frame_pixels, rgb_pixels, true_difference,
};

use super::canvas::{draw_on, text_style};

/// Tiles are drawn at a whole multiple of the model's side, at least this many pixels.
const TILE: u32 = 256;
const GAP: u32 = 14;
const HEADER: u32 = 48;
const CAPTION: u32 = 26;

const INK: RGBColor = RGBColor(40, 40, 48);
const REGION: RGBColor = RGBColor(255, 214, 0);
/// Tiles that show the region: the target and the squared error.
const WITH_REGION: [usize; 2] = [1, 3];

/// One panel.
#[derive(Clone, Debug)]
pub(crate) struct Panel<'a> {
    /// Video, frame and scores.
    pub(crate) title: String,
    /// What was scored; it has a target.
    pub(crate) clip: &'a Clip,
    /// `[S, S, 3]`, RGB in [0, 1].
    pub(crate) predicted: Option<Plane>,
    /// `[S, S, 1]`, squared error, frames in [0, 1].
    pub(crate) error: Option<Plane>,
    /// Generated for the oldest past frame: `[S, S, 3]`, in [-2, 2].
    pub(crate) difference: Option<Plane>,
    /// The box that carries the anomaly.
    pub(crate) region: Option<Region>,
}

/// Draws three columns and two rows of tiles.
pub(crate) fn draw(panel: &Panel<'_>) -> anyhow::Result<RgbImage> {
    let side = panel.clip.shape().side() as u32;
    let tile = side * TILE.div_ceil(side);
    let (width, height) = (3 * tile + 4 * GAP, HEADER + 2 * (CAPTION + tile) + 2 * GAP);
    let mut picture = RgbImage::from_pixel(width, height, Rgb([255; 3]));
    let tiles = tiles(panel);
    let place = |index: usize| {
        let (column, row) = (index as u32 % 3, index as u32 / 3);
        (GAP + column * (tile + GAP), HEADER + row * (CAPTION + tile + GAP))
    };
    for (index, (_, pixels)) in tiles.iter().enumerate() {
        let (x, y) = place(index);
        let pixels = match pixels {
            Some(pixels) => imageops::resize(pixels, tile, tile, imageops::FilterType::Nearest),
            None => RgbImage::from_pixel(tile, tile, Rgb([236; 3])),
        };
        imageops::replace(&mut picture, &pixels, x.into(), (y + CAPTION).into());
    }
    draw_on(&mut picture, |area| {
        area.draw(&Text::new(panel.title.clone(), (GAP as i32, 15), text_style(18, INK)))?;
        for (index, (caption, _)) in tiles.iter().enumerate() {
            let (x, y) = place(index);
            let at = (x as i32, y as i32 + 3);
            area.draw(&Text::new(caption.clone(), at, text_style(17, INK)))?;
            if let Some(region) = panel.region.filter(|_| WITH_REGION.contains(&index)) {
                let corners = corners(&region, tile, (x, y + CAPTION));
                area.draw(&Rectangle::new(corners, REGION.stroke_width(2)))?;
            }
        }
        Ok(())
    })?;
    Ok(picture)
}

/// The upper left and lower right pixel of a region on a tile at `(x, y)`.
fn corners(region: &Region, tile: u32, (x, y): (u32, u32)) -> [(i32, i32); 2] {
    let at = |share: f64, from: u32| {
        let pixel = (share * f64::from(tile)).round() as u32;
        (from + pixel.min(tile - 1)) as i32
    };
    [(at(region.left, x), at(region.top, y)), (at(region.right, x), at(region.bottom, y))]
}

type Tile = (String, Option<RgbImage>);

fn tiles(panel: &Panel<'_>) -> Vec<Tile> {
    let clip = panel.clip;
    let past = clip.past();
    let oldest = &past[0];
    let largest = panel.error.iter().flat_map(|e| e.values.iter().copied()).fold(0.0, f32::max);
    let absent = |name: &str, there: bool| {
        if there { name.to_owned() } else { format!("{name}: the model gives none") }
    };
    let error = format!("squared error, 0 to {largest:.3}");
    vec![
        ("last past frame".to_owned(), past.last().map(frame_pixels)),
        ("target".to_owned(), clip.target().map(frame_pixels)),
        (absent("prediction", panel.predicted.is_some()), panel.predicted.as_ref().map(rgb_pixels)),
        (
            absent(&error, panel.error.is_some()),
            panel.error.as_ref().map(|error| error_pixels(error, largest)),
        ),
        (
            "RGB difference, oldest - target".to_owned(),
            clip.target().map(|target| true_difference(oldest, target)),
        ),
        (
            absent("RGB difference, generated", panel.difference.is_some()),
            panel.difference.as_ref().map(difference_pixels),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use protoguard_core::{ClipShape, Frame};
    use protoguard_frames::picture::heat;

    use super::*;

    fn plane(channels: usize, value: f32) -> Plane {
        Plane { height: 16, width: 16, channels, values: vec![value; 256 * channels].into() }
    }

    #[test]
    fn six_tiles_of_whole_pixels() {
        let shape = ClipShape::new(4, 16).unwrap();
        let frame = |value: u8| Frame::new(16, 16, vec![value; 768]).unwrap();
        let clip = Clip::new(shape, vec![frame(50), frame(1), frame(2), frame(90), frame(200)]);
        let clip = clip.unwrap();
        let panel = Panel {
            title: "video 01, frame 7".to_owned(),
            clip: &clip,
            predicted: Some(plane(3, 0.5)),
            error: Some(plane(1, 0.04)),
            difference: None,
            region: Some(Region { left: 0.25, top: 0.25, right: 0.75, bottom: 1.0, share: 0.4 }),
        };
        let picture = draw(&panel).unwrap();
        assert_eq!(picture.dimensions(), (3 * 256 + 4 * 14, 48 + 2 * (26 + 256) + 28));
        let centre = |column: u32, row: u32| {
            picture.get_pixel(14 + column * 270 + 128, 48 + row * 296 + 26 + 128).0
        };
        assert_eq!(centre(0, 0), [90; 3]);
        assert_eq!(centre(1, 0), [200; 3]);
        assert_eq!(centre(2, 0), [128; 3]);
        assert_eq!(centre(0, 1), heat(1.0).0);
        // 50 - 200 of 127.5 is -1.18: half of it below middle gray is below black.
        assert_eq!(centre(1, 1), [0; 3]);
        assert_eq!(centre(2, 1), [236; 3]);
        let at = |column: u32, row: u32, x: u32, y: u32| {
            picture.get_pixel(14 + column * 270 + x, 48 + row * 296 + 26 + y).0
        };
        let region = [REGION.0, REGION.1, REGION.2];
        for (column, row) in [(1, 0), (0, 1)] {
            assert_eq!(at(column, row, 64, 200), region, "left edge");
            assert_eq!(at(column, row, 100, 64), region, "upper edge");
            assert_eq!(at(column, row, 192, 200), region, "right edge");
            assert_ne!(at(column, row, 32, 200), region, "outside");
        }
        assert_eq!(at(0, 0, 64, 200), [90; 3]);
    }
}
