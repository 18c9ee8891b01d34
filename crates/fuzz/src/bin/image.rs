//! Pictures to frames: whatever the bytes, a frame within the limits or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protoguard_frames::{DecodeLimits, decode, resize};

fuzz_target!(init: protoguard_fuzz::let_caught_panics_pass(), |bytes: &[u8]| {
    let limits = DecodeLimits { max_side: 256, max_pixels: 1 << 14, ..DecodeLimits::files() };
    if let Ok(frame) = decode(bytes, &limits) {
        assert!(frame.height().max(frame.width()) <= limits.max_side);
        assert!(frame.height() * frame.width() <= limits.max_pixels);
        assert_eq!(resize(&frame, 16).pixels().len(), 16 * 16 * 3);
    }
});
