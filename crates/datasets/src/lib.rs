//! Data sets: their layouts, labels and masks, the store of decoded videos, the seeded loader,
//! drawn data sets, and anomalies put into normal video.
//!
//! Deliberately absent: tensors, async and the wire. What makes bytes a frame is in
//! `protoguard-frames`.

pub mod anomalies;
mod dataset;
mod error;
mod interval;
mod labels;
mod layout;
mod loader;
mod matlab;
mod numbers;
mod ordered;
mod prefetch;
mod store;
mod survey;
pub mod synth;
mod tiff;

pub use dataset::{Dataset, testing_videos, training_videos};
pub use error::DatasetError;
pub use interval::common_interval;
pub use labels::{Agreement, ClipMasks, GroundTruth, LabelsError, PixelTruth, find_labels};
pub use layout::{Half, Layout};
pub use loader::{ClipBatch, ClipLoader, EpochBatches, LoaderConfig, Position};
pub use matlab::MatError;
pub use ordered::{OrderedBatches, OrderedConfig, PlacedClip, clips_in_order};
pub use store::{
    CacheChoice, CacheError, DecodedVideo, FrameCache, HeldOutSplit, LoadOptions, load,
    split_held_out,
};
pub use survey::{HalfSurvey, LabelSurvey, Oddity, Survey, SurveyOptions, VideoSurvey};
pub use tiff::dataset_limits;
