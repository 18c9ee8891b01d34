//! Messages to clips: whatever the bytes, a clip of the model's shape or violations.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use protoguard_core::ClipShape;
use protoguard_proto::{ClipRequest, v1};
use protoguard_service::DecodeLimits;
use protoguard_service::testing::decode_clip;

fuzz_target!(init: protoguard_fuzz::let_caught_panics_pass(), |bytes: &[u8]| {
    let Ok(message) = v1::ScoreClipRequest::decode(bytes) else { return };
    let Ok(request) = ClipRequest::try_from(message) else { return };
    let limits = DecodeLimits { max_side: 256, max_pixels: 1 << 14, ..DecodeLimits::default() };
    let Ok(shape) = ClipShape::new(4, 16) else { return };
    if let Ok(clip) = decode_clip(&request.source, shape, limits) {
        assert!(matches!(clip.frames().len(), 4 | 5));
        assert!(clip.frames().iter().all(|frame| frame.pixels().len() == 16 * 16 * 3));
    }
});
