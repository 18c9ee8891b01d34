//! Data sets: their layouts, labels and masks, the store of decoded videos, the seeded loader,
//! drawn data sets, and anomalies put into normal video.
//!
//! Deliberately absent: tensors, async and the wire. What makes bytes a frame is in
//! `protoguard-frames`.

pub mod anomalies;
pub mod dataset;
mod loader;
mod ordered;
mod store;
pub mod synth;

pub use dataset::{
    Dataset, DatasetError, GroundTruth, Half, Labels, LabelsError, Layout, PixelTruth, Video,
    VideoSource, testing_videos, training_videos, videos_under,
};
pub use loader::{ClipBatch, ClipLoader, EpochBatches, LoaderConfig, Position};
pub use ordered::{OrderedBatches, OrderedConfig, PlacedClip, clips_in_order};
pub use store::{
    CacheChoice, CacheError, DecodedVideo, FrameCache, HeldOutSplit, LoadOptions, load,
    split_held_out,
};
