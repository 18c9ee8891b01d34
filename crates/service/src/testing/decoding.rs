//! Decoding without a server, for fuzzing.

use protoguard_core::{Clip, ClipShape};
use protoguard_frames::DecodeLimits;
use protoguard_proto::{ClipSource, Violations};

use crate::rpc::decode::DecodeTarget;

/// What the service makes of a request's frames before they are queued.
///
/// # Errors
/// As the service answers them: a wrong count, a size beyond the limits, bytes that are no frame.
pub fn decode_clip(
    source: &ClipSource,
    shape: ClipShape,
    limits: DecodeLimits,
) -> Result<Clip, Violations> {
    let target = DecodeTarget { shape, limits };
    target.check_count(source)?;
    target.clip(source)
}
