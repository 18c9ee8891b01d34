//! The encodings of pictures: told by their first bytes, and decoded by what a caller allows.

use std::fmt;
use std::io::{BufRead, Seek};

use image::codecs::bmp::BmpDecoder;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::{ImageDecoder, ImageResult, Limits};

/// An encoding that is known by its first bytes, never by a file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ImageFormat {
    /// Baseline and progressive JPEG.
    Jpeg,
    /// PNG; of an animation, the default image.
    Png,
    /// Windows bitmap.
    Bmp,
    /// TIFF; of several pages, the first. Known here so that it can be named; what decodes it is
    /// in `protoguard-datasets`.
    Tiff,
}

impl ImageFormat {
    /// The format whose signature `bytes` starts with.
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        let starts = |magic: &[u8]| bytes.starts_with(magic);
        if starts(&[0xFF, 0xD8, 0xFF]) {
            Some(Self::Jpeg)
        } else if starts(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if starts(b"BM") {
            Some(Self::Bmp)
        } else if starts(b"II\x2A\x00") || starts(b"MM\x00\x2A") {
            Some(Self::Tiff)
        } else {
            None
        }
    }

    /// The name that people write.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
        }
    }
}

/// Encoded bytes, in memory or in a file.
pub trait Encoded: BufRead + Seek {}

impl<T: BufRead + Seek> Encoded for T {}

/// A decoder that has read the head of a picture.
pub type Decoder<'a> = Box<dyn ImageDecoder + 'a>;

/// Reads the head of a picture.
pub type Open = for<'a> fn(Box<dyn Encoded + 'a>, Limits) -> ImageResult<Decoder<'a>>;

/// An encoding and what decodes it. Only decoders that a program names are linked into it.
#[derive(Clone, Copy)]
pub struct Codec {
    format: ImageFormat,
    open: Open,
}

impl Codec {
    /// JPEG.
    pub const JPEG: Self = Self::new(ImageFormat::Jpeg, jpeg);
    /// PNG.
    pub const PNG: Self = Self::new(ImageFormat::Png, png);
    /// Windows bitmap.
    pub const BMP: Self = Self::new(ImageFormat::Bmp, bmp);
    /// What the service accepts: the two encodings that cameras and backends send.
    pub const WIRE: &'static [Self] = &[Self::JPEG, Self::PNG];
    /// What files of one's own may be.
    pub const FILES: &'static [Self] = &[Self::JPEG, Self::PNG, Self::BMP];

    /// What decodes `format`.
    pub const fn new(format: ImageFormat, open: Open) -> Self {
        Self { format, open }
    }

    /// What it decodes.
    pub fn format(self) -> ImageFormat {
        self.format
    }

    /// Reads the head of a picture, within `limits`.
    pub(crate) fn open<'a>(
        self,
        bytes: impl BufRead + Seek + 'a,
        limits: Limits,
    ) -> ImageResult<Decoder<'a>> {
        let mut decoder = (self.open)(Box::new(bytes), limits.clone())?;
        decoder.set_limits(limits)?;
        Ok(decoder)
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.format.name())
    }
}

/// One decoder of a format is as good as another.
impl PartialEq for Codec {
    fn eq(&self, other: &Self) -> bool {
        self.format == other.format
    }
}

impl Eq for Codec {}

fn jpeg<'a>(bytes: Box<dyn Encoded + 'a>, _: Limits) -> ImageResult<Decoder<'a>> {
    Ok(Box::new(JpegDecoder::new(bytes)?))
}

fn png<'a>(bytes: Box<dyn Encoded + 'a>, limits: Limits) -> ImageResult<Decoder<'a>> {
    Ok(Box::new(PngDecoder::with_limits(bytes, limits)?))
}

fn bmp<'a>(bytes: Box<dyn Encoded + 'a>, _: Limits) -> ImageResult<Decoder<'a>> {
    Ok(Box::new(BmpDecoder::new(bytes)?))
}
