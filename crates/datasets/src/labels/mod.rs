//! One label a frame, from each form in which ground truth is shipped.

mod error;
mod find;
mod masks;
mod pixels;
mod ranges;
mod truth;

pub use error::LabelsError;
pub use find::find_labels;
pub use pixels::PixelTruth;
pub use truth::{Agreement, ClipMasks, GroundTruth};
