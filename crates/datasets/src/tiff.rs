//! TIFF, in which UCSD's data sets come. Nothing but data sets reads it, so that neither server nor
//! client links it.

use image::codecs::tiff::TiffDecoder;
use image::{ImageResult, Limits};
use protoguard_frames::{Codec, DecodeLimits, Decoder, Encoded, ImageFormat};

/// What decodes TIFF.
const TIFF: Codec = Codec::new(ImageFormat::Tiff, open);

/// What data sets on disk may hold.
pub(crate) const CODECS: &[Codec] = &[Codec::JPEG, Codec::PNG, Codec::BMP, TIFF];

/// The default limits with every format that data sets come in.
pub fn dataset_limits() -> DecodeLimits {
    DecodeLimits { codecs: CODECS, ..DecodeLimits::default() }
}

fn open<'a>(bytes: Box<dyn Encoded + 'a>, _: Limits) -> ImageResult<Decoder<'a>> {
    Ok(Box::new(TiffDecoder::new(bytes)?))
}
