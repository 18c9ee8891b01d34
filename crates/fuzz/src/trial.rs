//! One input, named when it breaks something.

use std::thread;

/// Bytes of an input that are printed; larger ones are written to a file.
const MAX_PRINTED: usize = 8 << 10;

/// Checks one input, and says which it was when the check panics.
pub fn trial<T>(input: &[u8], check: impl FnOnce(&[u8]) -> T) -> T {
    let _named = Named(input);
    check(input)
}

struct Named<'a>(&'a [u8]);

#[allow(clippy::print_stderr, reason = "what a failed test says")]
impl Drop for Named<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        if self.0.len() <= MAX_PRINTED {
            eprintln!("the offending input: b\"{}\"", self.0.escape_ascii());
            return;
        }
        let path = std::env::temp_dir().join(format!("offending-input-{}", std::process::id()));
        match std::fs::write(&path, self.0) {
            Ok(()) => eprintln!("the offending input: {}", path.display()),
            Err(error) => eprintln!("the offending input is lost: {error}"),
        }
    }
}
