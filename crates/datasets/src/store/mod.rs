//! Decoded videos, as u8 at the model's side.
//!
//! Decoding every frame once and keeping it beats decoding it t + 1 times an epoch: at 256² a
//! frame takes 196 608 bytes, so that Ped2's training half is 0.5 GB and ShanghaiTech's 54 GB.
//! Frames are therefore kept on disk, one file a video (see [`FrameCache`]), and read from there
//! a clip at a time; the system's page cache keeps in memory what fits. Without a cache they are
//! kept in memory.

mod cache;
mod decoded;
mod error;
mod file;
mod identity;
mod load;
mod split;

pub use cache::{CacheChoice, FrameCache};
pub use decoded::DecodedVideo;
pub use error::CacheError;
pub use load::{LoadOptions, load};
pub use split::{HeldOutSplit, split_held_out};
