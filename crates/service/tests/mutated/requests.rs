//! Requests that are broken in the message, in a field or in a picture.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};
use prost::Message;
use protoguard_fuzz::Mutator;
use protoguard_proto::v1;
use protoguard_proto::v1::score_clip_request::Clip;

/// Of the model of the tests, in pixels.
const SIDE: u32 = 16;
/// Numbers that a field may hold beside sensible ones.
const NUMBERS: [u32; 8] = [0, 1, 3, 5, 16, 65_536, 0x7FFF_FFFF, u32::MAX];

/// A stream of broken requests.
pub(crate) struct Broken {
    random: fastrand::Rng,
    messages: Mutator,
    pictures: Mutator,
    turn: usize,
}

impl Broken {
    pub(crate) fn new(seed: u64) -> Self {
        let messages = [raw(SIDE), encoded(pictures()), Clip::TestClip(1)].map(message);
        Self {
            random: fastrand::Rng::with_seed(seed),
            messages: Mutator::new(seed, messages.into()).with_words(["hall", "hall@fake", "@"]),
            pictures: Mutator::new(seed, pictures()).with_words(["IHDR", "IDAT", "acTL", "tRNS"]),
            turn: 0,
        }
    }

    pub(crate) fn next_message(&mut self) -> Vec<u8> {
        self.turn += 1;
        match self.turn % 3 {
            0 => self.messages.next_input(),
            1 => self.broken_picture(),
            _ => self.broken_field(),
        }
    }

    /// A sound request with one or more pictures that are not.
    fn broken_picture(&mut self) -> Vec<u8> {
        let mut frames = vec![pictures()[self.random.usize(..2)].clone(); 5];
        for _ in 0..self.random.usize(1..4) {
            frames[self.random.usize(..5)] = self.pictures.next_input();
        }
        message(encoded(frames))
    }

    /// A request whose fields are each sound or at a bound.
    fn broken_field(&mut self) -> Vec<u8> {
        v1::ScoreClipRequest {
            model: self.text("hall"),
            scene: self.text(""),
            request_id: self.text("a"),
            view: self.number(1) as i32,
            outputs: vec![self.number(1) as i32, self.number(2) as i32],
            frame_interval_ms: f64::from(self.number(40)),
            any_frame_interval: self.number(1) == 1,
            image_encoding: self.number(3) as i32,
            clip: Some(self.broken_clip()),
        }
        .encode_to_vec()
    }

    fn broken_clip(&mut self) -> Clip {
        match self.random.u8(..3) {
            0 => Clip::RawFrames(v1::RawFrames {
                data: vec![7; self.number(5 * SIDE * SIDE * 3).min(4000) as usize].into(),
                height: self.number(SIDE),
                width: self.number(SIDE),
                count: self.number(5),
                pixel_format: self.number(1) as i32,
            }),
            1 => {
                let frames = vec![pictures()[0].clone().into(); self.number(5).min(70) as usize];
                Clip::EncodedFrames(v1::EncodedFrames { frames })
            }
            _ => Clip::TestClip(self.number(1) as i32),
        }
    }

    fn number(&mut self, usual: u32) -> u32 {
        if self.random.u8(..4) > 0 { usual } else { NUMBERS[self.random.usize(..NUMBERS.len())] }
    }

    fn text(&mut self, usual: &str) -> String {
        match self.random.u8(..6) {
            0 => "attic".to_owned(),
            1 => format!("{usual}@"),
            2 => "\u{0}\u{FFFF} ".repeat(self.random.usize(..50)),
            _ => usual.to_owned(),
        }
    }
}

/// A request that is answered with scores.
pub(crate) fn good() -> Vec<u8> {
    message(raw(SIDE))
}

fn message(clip: Clip) -> Vec<u8> {
    v1::ScoreClipRequest { view: 2, clip: Some(clip), ..Default::default() }.encode_to_vec()
}

fn raw(side: u32) -> Clip {
    Clip::RawFrames(v1::RawFrames {
        data: vec![9; (5 * side * side * 3) as usize].into(),
        height: side,
        width: side,
        count: 5,
        pixel_format: v1::PixelFormat::RgbU8.into(),
    })
}

fn encoded(frames: Vec<Vec<u8>>) -> Clip {
    let frames = frames.into_iter().cycle().take(5).map(Into::into).collect();
    Clip::EncodedFrames(v1::EncodedFrames { frames })
}

/// One JPEG and one PNG of the same size.
fn pictures() -> Vec<Vec<u8>> {
    let texture = |x: u32, y: u32| ((x * 31 + y * 17) % 256) as u8;
    let rgb = RgbImage::from_fn(20, 12, |x, y| image::Rgb([texture(x, y), texture(y, x), 9]));
    let picture = DynamicImage::ImageRgb8(rgb);
    let encode = |format| {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    vec![encode(ImageFormat::Jpeg), encode(ImageFormat::Png)]
}
