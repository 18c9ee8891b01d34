//! Bytes to frames: decoding with limits, the one resizer, data set layouts and labels, videos
//! through `ffmpeg`, the store of decoded videos, the seeded loader and drawn scenes.
//!
//! Training and serving share [`decode`](decode()) and [`resize`](resize()), so that a model sees
//! the same pixels in both. Deliberately absent: tensors, async and the wire.

pub mod dataset;
mod decode;
mod loader;
mod resize;
mod store;
pub mod synth;
pub mod video;

pub use dataset::{
    DatasetError, Labels, LabelsError, Video, testing_videos, training_videos, videos_under,
};
pub use decode::{DecodeError, DecodeLimits, ImageFormat, decode};
pub use loader::{ClipLoader, EpochBatches, LoaderConfig, PlacedClip, Position, clips_in_order};
pub use resize::{RESIZER, resize};
pub use store::{DecodedVideo, HeldOutSplit, load, split_held_out};
