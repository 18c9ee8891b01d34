//! Encoded pictures to frames, refusing by their declared size before any pixel is decoded.

use std::io::{BufRead, Cursor, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::{DynamicImage, ImageDecoder, Limits};
use protoguard_core::Frame;

use crate::codec::{Codec, ImageFormat};

/// What an encoded picture may cost. The default is the service's; see [`DecodeLimits::files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Encoded bytes.
    pub max_bytes: usize,
    /// Height and width in pixels, each.
    pub max_side: usize,
    /// Height times width in pixels: a decoded frame takes three times as many bytes.
    pub max_pixels: usize,
    /// Encodings that are accepted; the others are refused by their first bytes.
    pub codecs: &'static [Codec],
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_bytes: 32 << 20, max_side: 8192, max_pixels: 40_000_000, codecs: Codec::WIRE }
    }
}

impl DecodeLimits {
    /// The default limits with every format that is read here: for files of one's own.
    pub fn files() -> Self {
        Self { codecs: Codec::FILES, ..Self::default() }
    }

    /// Checks a declared size, in pixels.
    ///
    /// # Errors
    /// [`DecodeError::TooLarge`] when a side or the area is above the limits.
    pub fn check_size(&self, height: usize, width: usize) -> Result<(), DecodeError> {
        let Self { max_side, max_pixels, .. } = *self;
        if height.max(width) > max_side || height.saturating_mul(width) > max_pixels {
            return Err(DecodeError::TooLarge { height, width, max_side, max_pixels });
        }
        Ok(())
    }
}

/// Bytes that give no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More encoded bytes than the limit.
    #[error("image has {found} encoded bytes; at most {limit} are accepted")]
    TooManyBytes {
        /// Bytes that came.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// No known signature.
    #[error("image is in no known format (its bytes begin {found}); {accepted} is expected")]
    UnknownFormat {
        /// The first bytes, in hexadecimal.
        found: String,
        /// The formats that are accepted.
        accepted: String,
    },
    /// A known format that is not accepted here.
    #[error("image is {}; {accepted} is expected", found.name())]
    FormatNotAccepted {
        /// The format of the bytes.
        found: ImageFormat,
        /// The formats that are accepted.
        accepted: String,
    },
    /// Declared dimensions above the limits; nothing was decoded.
    #[error(
        "image declares {height}x{width} pixels; at most {max_side} a side and {max_pixels} in all are accepted"
    )]
    TooLarge {
        /// Declared height in pixels.
        height: usize,
        /// Declared width in pixels.
        width: usize,
        /// The limit of a side.
        max_side: usize,
        /// The limit of the area.
        max_pixels: usize,
    },
    /// The bytes break off or contradict themselves.
    #[error("{} image cannot be decoded: {reason}", format.name())]
    Corrupt {
        /// The format of the bytes.
        format: ImageFormat,
        /// The decoder's words.
        reason: String,
    },
}

/// Decodes one picture: gray is replicated, alpha dropped, 16 bits a channel scaled to 8.
///
/// The declared dimensions are checked before a pixel is decoded or room for one is taken. Never
/// panics: a codec that does is reported as [`DecodeError::Corrupt`], because a panic on a rayon
/// thread would take the server down.
///
/// # Errors
/// When the bytes are too many, of no accepted format, too large in pixels, or corrupt.
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Frame, DecodeError> {
    let codec = accepted_codec(bytes, limits)?;
    let format = codec.format();
    let corrupt = |reason: String| DecodeError::Corrupt { format, reason };
    if format == ImageFormat::Jpeg && !jpeg_is_whole(bytes) {
        return Err(corrupt("it is truncated (no end-of-image marker)".to_owned()));
    }
    let run = || decode_pixels(bytes, codec, limits);
    let image = catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(corrupt("the decoder gave up".to_owned())))?;
    let (height, width) = (image.height() as usize, image.width() as usize);
    Frame::new(height, width, image.into_rgb8().into_raw())
        .map_err(|error| corrupt(error.to_string()))
}

/// Height and width in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Height.
    pub height: usize,
    /// Width.
    pub width: usize,
}

/// What the head of a picture declares.
pub struct Declared {
    /// Its encoding, by its first bytes.
    pub format: ImageFormat,
    /// Its size.
    pub size: Size,
}

/// The declared size of a picture, from its head alone; pixels may be missing all the same.
///
/// # Errors
/// When the bytes are of no accepted format, too large in pixels, or break off in the head.
pub fn size_of(
    mut source: impl BufRead + Seek,
    limits: &DecodeLimits,
) -> Result<Declared, DecodeError> {
    let head = source.fill_buf().map(|head| head[..head.len().min(16)].to_vec());
    let codec = accepted_codec(&head.unwrap_or_default(), limits)?;
    let format = codec.format();
    let decoder = codec
        .open(source, Limits::default())
        .map_err(|error| DecodeError::Corrupt { format, reason: one_line(&error) })?;
    let (width, height) = decoder.dimensions();
    let (height, width) = (height as usize, width as usize);
    limits.check_size(height, width)?;
    Ok(Declared { format, size: Size { height, width } })
}

fn accepted_codec(bytes: &[u8], limits: &DecodeLimits) -> Result<Codec, DecodeError> {
    if bytes.len() > limits.max_bytes {
        return Err(DecodeError::TooManyBytes { found: bytes.len(), limit: limits.max_bytes });
    }
    let accepted =
        || limits.codecs.iter().map(|codec| codec.format().name()).collect::<Vec<_>>().join(" or ");
    let Some(found) = ImageFormat::sniff(bytes) else {
        let head: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let found = if head.is_empty() { "nowhere: there are none".into() } else { head.join(" ") };
        return Err(DecodeError::UnknownFormat { found, accepted: accepted() });
    };
    let codec = limits.codecs.iter().find(|codec| codec.format() == found);
    codec.copied().ok_or_else(|| DecodeError::FormatNotAccepted { found, accepted: accepted() })
}

fn decode_pixels(
    bytes: &[u8],
    codec: Codec,
    limits: &DecodeLimits,
) -> Result<DynamicImage, DecodeError> {
    let format = codec.format();
    let corrupt =
        |error: image::ImageError| DecodeError::Corrupt { format, reason: one_line(&error) };
    let mut allowed = Limits::no_limits();
    // Sixteen bits and four channels are the most that a pixel takes; as much again is scratch.
    allowed.max_alloc = Some((limits.max_pixels as u64).saturating_mul(16));
    let mut decoder = codec.open(Cursor::new(bytes), allowed.clone()).map_err(corrupt)?;
    let (width, height) = decoder.dimensions();
    limits.check_size(height as usize, width as usize)?;
    allowed.reserve(decoder.total_bytes()).map_err(corrupt)?;
    decoder.set_limits(allowed).map_err(corrupt)?;
    DynamicImage::from_decoder(decoder).map_err(corrupt)
}

/// Whether an end-of-image marker follows the last start of a scan. The codec itself fills what
/// is missing with gray, which would be scored as if the camera had seen it.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let is = |marker: u8| move |pair: &[u8]| pair == [0xFF, marker];
    let end = bytes.windows(2).rposition(is(0xD9));
    end.is_some_and(|end| !bytes[end..].windows(2).any(is(0xDA)))
}

fn one_line(error: &dyn std::error::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
