//! The wire types of `protoguard.v1` and of the Open Inference Protocol, and their conversions to and from core's types.
//!
//! The types under [`v1`] are generated and checked in, so that a build needs neither a compiler
//! for protos nor a build script; a test regenerates and compares them. What a request may say is
//! checked here, once, into [`ClipRequest`]: every violation names its field. Decoding pictures is
//! the service's business and absent here.

mod alarm;
mod detector;
mod inference;
mod model;
mod request;
mod response;
mod stream;
mod violation;
mod zones;

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
pub mod v1;

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
pub mod oip;

pub use prost::bytes::Bytes;

pub use detector::part_from_wire;
pub use inference::{FRAMES, INFERRED_CLIPS, InferOutput, InferRequest, model as inferred_model};
pub use model::{CardError, ModelRef, calibration_from_wire, card_from_wire};
pub use request::{ClipRequest, ClipSource, ImageEncoding, PixelFormat, RawClip, TestClip};
pub use response::{scores_to_wire, surprise_to_wire};
pub use stream::{AlarmOptions, Opening, Picture, StreamFrame, StreamMode};
pub use violation::{FieldViolation, Violations};

/// The encoded `FileDescriptorSet` of both packages, comments included, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptors.bin");
