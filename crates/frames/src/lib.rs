//! Bytes to frames: decoding with limits, the one resizer, videos through `ffmpeg` and as they lie
//! on disk, one label a frame, drawn scenes, and pictures for people.
//!
//! Training and serving share [`decode`](decode()) and [`resize`](resize()), so that a model sees
//! the same pixels in both. Deliberately absent: data sets, tensors, async and the wire.

mod codec;
mod decode;
pub mod files;
pub mod labels;
pub mod pace;
pub mod picture;
mod resize;
pub mod scenes;
pub mod video;

pub use codec::{Codec, Decoder, Encoded, ImageFormat, Open};
pub use decode::{Declared, DecodeError, DecodeLimits, Size, decode, size_of};
pub use resize::{RESIZER, resize};
