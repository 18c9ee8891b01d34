//! From frames to clips as they travel.

use std::collections::VecDeque;

use anyhow::{Context, bail};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use protoguard_core::{Clip, ClipShape, ClipWindow, Frame};
use protoguard_frames::{Codec, ImageFormat, resize};
use protoguard_proto::Bytes;
use protoguard_proto::v1::score_clip_request::Clip as WireClip;
use protoguard_proto::v1::{EncodedFrames, PixelFormat, RawFrames};

use super::source::{Source, SourceFrame};
use crate::arguments::PayloadKind;

/// High enough that what is lost is less than a camera's own noise.
const JPEG_QUALITY: u8 = 95;

/// A clip that was read, and the bytes that stand for it on the wire.
#[derive(Clone, Debug)]
pub(crate) struct ReadClip {
    /// Zero-based index of the target among all frames of its video.
    pub(crate) frame: usize,
    /// At the model's side.
    pub(crate) clip: Clip,
    pub(crate) wire: WireClip,
}

/// How clips are cut and packed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packing {
    pub(crate) shape: ClipShape,
    /// Absent: the files' own bytes where they can travel, else raw.
    pub(crate) payload: Option<PayloadKind>,
}

impl Packing {
    /// Hands over every clip of a video in temporal order, until `take` says false. Gives the
    /// number of all its frames.
    pub(crate) fn for_each_clip(
        self,
        source: &Source,
        mut take: impl FnMut(ReadClip) -> anyhow::Result<bool>,
    ) -> anyhow::Result<usize> {
        let mut window = ClipWindow::new(self.shape);
        let mut encoded: VecDeque<Option<Bytes>> = VecDeque::new();
        let mut taken = 0;
        let frames = source.for_each_frame(|index, frame| {
            let resized = resize(&frame.frame, self.shape.side());
            if encoded.len() == self.shape.frames() {
                encoded.pop_front();
            }
            encoded.push_back(self.encode(&frame, &resized)?);
            let clip = window.push(resized)?;
            taken += 1;
            let Some(clip) = clip else { return Ok(true) };
            let wire = pack(&clip, &encoded);
            take(ReadClip { frame: index, clip, wire })
        })?;
        if taken < self.shape.frames() {
            return Err(source.too_short(taken, self.shape).into());
        }
        Ok(frames)
    }

    /// A clip that came from no file, as it travels.
    pub(crate) fn pack_drawn(self, clip: &Clip) -> anyhow::Result<WireClip> {
        let encode = |frame: &Frame| {
            self.encode(&SourceFrame { frame: frame.clone(), encoded: None }, frame)
        };
        let encoded: VecDeque<Option<Bytes>> =
            clip.frames().iter().map(encode).collect::<anyhow::Result<_>>()?;
        Ok(pack(clip, &encoded))
    }

    /// One frame's compressed bytes; nothing where it travels raw.
    fn encode(self, frame: &SourceFrame, resized: &Frame) -> anyhow::Result<Option<Bytes>> {
        let own = frame.encoded.as_ref();
        let format = own.and_then(|bytes| ImageFormat::sniff(bytes));
        let travels =
            format.is_some_and(|format| Codec::WIRE.iter().any(|codec| codec.format() == format));
        match self.payload {
            Some(PayloadKind::Raw) => Ok(None),
            Some(PayloadKind::Png) => {
                let mut bytes = Vec::new();
                write_pixels(resized, PngEncoder::new(&mut bytes))?;
                Ok(Some(bytes.into()))
            }
            Some(PayloadKind::Jpeg) => {
                let mut bytes = Vec::new();
                write_pixels(resized, JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY))?;
                Ok(Some(bytes.into()))
            }
            Some(PayloadKind::Files) if !travels => {
                let found = format.map_or("no frame file", ImageFormat::name);
                bail!(
                    "payload is files, but a frame is {found}; \
                     JPEG or PNG files are expected (or --payload raw, png or jpeg)"
                )
            }
            Some(PayloadKind::Files) | None => Ok(own.filter(|_| travels).cloned()),
        }
    }
}

fn write_pixels(frame: &Frame, encoder: impl ImageEncoder) -> anyhow::Result<()> {
    let (width, height) = (frame.width() as u32, frame.height() as u32);
    encoder
        .write_image(frame.pixels(), width, height, ExtendedColorType::Rgb8)
        .context("cannot encode a frame")
}

/// Compressed where every frame is, raw otherwise.
fn pack(clip: &Clip, encoded: &VecDeque<Option<Bytes>>) -> WireClip {
    let frames: Option<Vec<Bytes>> = encoded.iter().cloned().collect();
    if let Some(frames) = frames {
        return WireClip::EncodedFrames(EncodedFrames { frames });
    }
    let (side, count) = (clip.shape().side() as u32, clip.frames().len() as u32);
    let pixels: Vec<&[u8]> = clip.frames().iter().map(Frame::pixels).collect();
    WireClip::RawFrames(RawFrames {
        data: pixels.concat().into(),
        height: side,
        width: side,
        count,
        pixel_format: PixelFormat::RgbU8.into(),
    })
}

#[cfg(test)]
mod tests {
    use image::RgbImage;
    use protoguard_frames::{DecodeLimits, decode};

    use super::super::source::discover;
    use super::*;

    /// Six frames of 32 by 16 pixels, each of its own gray.
    fn folder(extension: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for index in 0..6u8 {
            let path = folder.path().join(format!("{index}.{extension}"));
            RgbImage::from_pixel(32, 16, image::Rgb([index * 10; 3])).save(path).unwrap();
        }
        folder
    }

    fn clips(extension: &str, payload: Option<PayloadKind>) -> anyhow::Result<Vec<ReadClip>> {
        let folder = folder(extension);
        let source = discover(&[folder.path().to_owned()])?.remove(0);
        let packing = Packing { shape: ClipShape::new(4, 16)?, payload };
        let mut clips = Vec::new();
        let frames = packing.for_each_clip(&source, |clip| {
            clips.push(clip);
            Ok(true)
        })?;
        assert_eq!(frames, 6);
        Ok(clips)
    }

    fn encoded(clip: &ReadClip) -> &[Bytes] {
        let WireClip::EncodedFrames(encoded) = &clip.wire else { panic!("not encoded") };
        &encoded.frames
    }

    #[test]
    fn png_files_travel_as_they_are() {
        let clips = clips("png", None).unwrap();
        assert_eq!(clips.iter().map(|clip| clip.frame).collect::<Vec<_>>(), [4, 5]);
        for clip in &clips {
            let frames = encoded(clip);
            assert_eq!(frames.len(), 5);
            let last = decode(&frames[4], &DecodeLimits::default()).unwrap();
            assert_eq!((last.height(), last.width()), (16, 32));
            assert_eq!(usize::from(last.pixels()[0]), clip.frame * 10);
        }
    }

    #[test]
    fn what_the_server_does_not_take_travels_raw() {
        for clip in clips("bmp", None).unwrap() {
            let WireClip::RawFrames(raw) = &clip.wire else { panic!("not raw") };
            assert_eq!((raw.height, raw.width, raw.count), (16, 16, 5));
            assert_eq!(raw.data.len(), clip.clip.bytes());
            assert_eq!(usize::from(raw.data[4 * 768]), clip.frame * 10);
        }
        let error = clips("bmp", Some(PayloadKind::Files)).unwrap_err().to_string();
        assert!(error.contains("BMP") && error.contains("JPEG or PNG"), "{error}");
    }

    #[test]
    fn resized_png_keeps_every_pixel() {
        for kind in [PayloadKind::Png, PayloadKind::Jpeg] {
            for clip in clips("png", Some(kind)).unwrap() {
                let last = decode(&encoded(&clip)[4], &DecodeLimits::default()).unwrap();
                assert_eq!((last.height(), last.width()), (16, 16));
                if kind == PayloadKind::Png {
                    assert_eq!(Some(&last), clip.clip.target());
                }
            }
        }
    }
}
