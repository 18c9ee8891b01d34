//! What the processor can do, where it decides how something of ours is computed. What libtorch
//! computes is its own affair, and is asked of it.

use std::sync::OnceLock;

/// A limit of the processor that is no set of instructions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_ISA} is {found:?}; it must be avx2, or not set")]
pub struct LimitError {
    /// What the environment says.
    pub found: String,
}

/// Hides from our own code what a wider processor has, so that the way of a narrow one can be taken
/// on it: `avx2` is the one value, in any case. `ONEDNN_MAX_CPU_ISA=AVX2`,
/// `ATEN_CPU_CAPABILITY=avx2` and `MKL_ENABLE_INSTRUCTIONS=AVX2` do the same for libtorch.
const MAX_ISA: &str = "PROTOGUARD_MAX_CPU_ISA";
/// The same for oneDNN, which is asked for a word in an error alone.
const ONEDNN_MAX_ISA: &str = "ONEDNN_MAX_CPU_ISA";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Processor {
    avx2: bool,
    avx512: bool,
    bf16: bool,
    vnni: bool,
}

/// Whether what is known of the processor can be had.
///
/// # Errors
/// When the switch that limits it has a value that is none, as every function here.
pub fn check() -> Result<(), LimitError> {
    found().map(drop)
}

/// Vectors of 16 numbers in f32.
///
/// # Errors
/// As [`check`].
pub fn has_avx512() -> Result<bool, LimitError> {
    Ok(found()?.avx512)
}

/// Products of bf16, summed in f32.
///
/// # Errors
/// As [`check`].
pub fn has_bf16() -> Result<bool, LimitError> {
    Ok(found()?.bf16)
}

/// Products of u8 and s8, summed in 32 bits, in vectors of 64.
///
/// # Errors
/// As [`check`].
pub fn has_vnni() -> Result<bool, LimitError> {
    Ok(found()?.vnni)
}

/// What libtorch lacks for bf16, as `this processor has AVX2`.
///
/// # Errors
/// As [`check`].
pub fn without_bf16() -> Result<String, LimitError> {
    Ok(found()?.without_bf16(std::env::var(ONEDNN_MAX_ISA).ok().as_deref()))
}

fn found() -> Result<Processor, LimitError> {
    static FOUND: OnceLock<Result<Processor, LimitError>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let limit = std::env::var_os(MAX_ISA).unwrap_or_default();
        Processor::detect().limited(&limit.to_string_lossy())
    });
    found.clone()
}

impl Processor {
    fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        return Self {
            avx2: std::arch::is_x86_feature_detected!("avx2"),
            avx512: std::arch::is_x86_feature_detected!("avx512f"),
            bf16: std::arch::is_x86_feature_detected!("avx512bf16"),
            vnni: std::arch::is_x86_feature_detected!("avx512vnni"),
        };
        #[cfg(not(target_arch = "x86_64"))]
        return Self::default();
    }

    /// Without what is wider than [`MAX_ISA`] says.
    fn limited(self, limit: &str) -> Result<Self, LimitError> {
        match limit {
            "" => Ok(self),
            avx2 if avx2.eq_ignore_ascii_case("avx2") => {
                Ok(Self { avx2: self.avx2, ..Self::default() })
            }
            other => Err(LimitError { found: other.to_owned() }),
        }
    }

    /// The instructions that decide something, as `AVX2, AVX-512`.
    fn instructions(self) -> String {
        let Self { avx2, avx512, bf16, vnni } = self;
        let names =
            [(avx2, "AVX2"), (avx512, "AVX-512"), (vnni, "AVX512-VNNI"), (bf16, "AVX512-BF16")];
        let has: Vec<&str> =
            names.into_iter().filter(|(has, _)| *has).map(|(_, name)| name).collect();
        if has.is_empty() { "neither AVX2 nor AVX-512".to_owned() } else { has.join(", ") }
    }

    /// Where a processor has AVX-512, it is oneDNN that does without.
    fn without_bf16(self, onednn: Option<&str>) -> String {
        let has = format!("this processor has {}", self.instructions());
        match onednn {
            _ if !self.avx512 => has,
            Some(limit) => format!("{has}, of which {ONEDNN_MAX_ISA}={limit} lets it use a part"),
            None => format!("{has}, of which it does not use what it needs"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Processor = Processor { avx2: true, avx512: true, bf16: true, vnni: true };
    const NARROW: Processor = Processor { avx2: true, avx512: false, bf16: false, vnni: false };

    #[test]
    fn the_switch_hides_what_is_wider() {
        assert_eq!(WIDE.limited("").unwrap(), WIDE);
        // oneDNN's spelling is in capitals.
        for spelling in ["avx2", "AVX2", "Avx2"] {
            assert_eq!(WIDE.limited(spelling).unwrap(), NARROW);
        }
        let message = WIDE.limited("sse").unwrap_err().to_string();
        assert_eq!(message, "PROTOGUARD_MAX_CPU_ISA is \"sse\"; it must be avx2, or not set");
    }

    #[test]
    fn what_is_missing_for_bf16_does_not_contradict_what_is_there() {
        assert_eq!(NARROW.without_bf16(Some("AVX2")), "this processor has AVX2");
        assert_eq!(
            Processor::default().without_bf16(None),
            "this processor has neither AVX2 nor AVX-512"
        );
        assert_eq!(
            WIDE.without_bf16(Some("AVX2")),
            "this processor has AVX2, AVX-512, AVX512-VNNI, AVX512-BF16, of which \
             ONEDNN_MAX_CPU_ISA=AVX2 lets it use a part"
        );
        assert!(WIDE.without_bf16(None).ends_with(", of which it does not use what it needs"));
    }
}
