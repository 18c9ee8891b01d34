//! A plotters drawing area over an RGB picture, with a font that travels in the program: the
//! machine that draws may have none.

use std::sync::Once;

use image::RgbImage;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, FontTransform, register_font};

/// The name that the embedded font is registered under.
const FONT: &str = "sans-serif";

/// Draws on `picture`.
pub(super) fn draw_on<T>(
    picture: &mut RgbImage,
    draw: impl FnOnce(&DrawingArea<BitMapBackend<'_>, Shift>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    register();
    let size = picture.dimensions();
    let area = BitMapBackend::with_buffer(picture.as_mut(), size).into_drawing_area();
    let drawn = draw(&area)?;
    area.present()?;
    Ok(drawn)
}

/// Text of `size` pixels.
pub(super) fn text_style(size: i32, colour: RGBColor) -> TextStyle<'static> {
    let color = colour.to_backend_color();
    TextStyle { color, ..TextStyle::from((FONT, size).into_font()) }
}

/// Text that reads upwards.
pub(super) fn upward(style: TextStyle<'static>) -> TextStyle<'static> {
    style.transform(FontTransform::Rotate270)
}

fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let font = epaint_default_fonts::UBUNTU_LIGHT;
        let registered = register_font(FONT, FontStyle::Normal, font);
        assert!(registered.is_ok(), "the embedded font is a valid font");
    });
}
