//! Bytes to frames: decoding with limits, the one resizer, data set layouts and labels, videos
//! through `ffmpeg`, the store of decoded videos, the seeded loader, drawn scenes, anomalies put
//! into normal video, and pictures for people.
//!
//! Training and serving share [`decode`](decode()) and [`resize`](resize()), so that a model sees
//! the same pixels in both. Deliberately absent: tensors, async and the wire.

pub mod anomalies;
pub mod dataset;
mod decode;
mod loader;
mod ordered;
pub mod picture;
mod resize;
mod store;
pub mod synth;
pub mod video;

pub use dataset::{
    Dataset, DatasetError, GroundTruth, Half, Labels, LabelsError, Layout, PixelTruth, Video,
    VideoSource, testing_videos, training_videos, videos_under,
};
pub use decode::{DecodeError, DecodeLimits, ImageFormat, decode};
pub use loader::{ClipBatch, ClipLoader, EpochBatches, LoaderConfig, Position};
pub use ordered::{OrderedBatches, OrderedConfig, PlacedClip, clips_in_order};
pub use resize::{RESIZER, resize};
pub use store::{
    CacheChoice, CacheError, DecodedVideo, FrameCache, HeldOutSplit, LoadOptions, load,
    split_held_out,
};
