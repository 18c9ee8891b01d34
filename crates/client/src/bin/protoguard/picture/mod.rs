//! Pictures for people: the score over time, and what the model saw in single clips.

mod canvas;
pub(crate) mod curve;
pub(crate) mod panel;

use std::io::Cursor;
use std::path::Path;

use anyhow::Context;
use image::{ImageFormat, RgbImage};

use crate::output::write_file;

/// Writes a picture as PNG, complete or not at all.
pub(crate) fn save(picture: &RgbImage, path: &Path) -> anyhow::Result<()> {
    write_file(path, &encode(picture)?)
}

/// A picture as PNG.
pub(crate) fn encode(picture: &RgbImage) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).context("cannot encode a picture")?;
    Ok(bytes.into_inner())
}
