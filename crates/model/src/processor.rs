//! What the processor can do, where it decides how something of ours is computed. What libtorch
//! computes is its own affair, and is asked of it.

use std::sync::OnceLock;

/// Hides from our own code what a wider processor has, so that the way of a narrow one can be taken
/// on it: `avx2` is the one value. `ONEDNN_MAX_CPU_ISA=AVX2` and `ATEN_CPU_CAPABILITY=avx2` do the
/// same for libtorch.
const MAX_ISA: &str = "PROTOGUARD_MAX_CPU_ISA";

#[derive(Clone, Copy, Debug, Default)]
struct Processor {
    avx2: bool,
    avx512: bool,
    bf16: bool,
    vnni: bool,
}

/// Vectors of 16 numbers in f32.
pub(crate) fn has_avx512() -> bool {
    found().avx512
}

/// Products of bf16, summed in f32.
pub(crate) fn has_bf16() -> bool {
    found().bf16
}

/// Products of u8 and s8, summed in 32 bits, in vectors of 64.
pub(crate) fn has_vnni() -> bool {
    found().vnni
}

/// The instructions that decide something, as `AVX2, AVX-512`.
pub(crate) fn described() -> String {
    let Processor { avx2, avx512, bf16, vnni } = found();
    let names = [(avx2, "AVX2"), (avx512, "AVX-512"), (vnni, "AVX512-VNNI"), (bf16, "AVX512-BF16")];
    let has: Vec<&str> = names.into_iter().filter(|(has, _)| *has).map(|(_, name)| name).collect();
    if has.is_empty() { "neither AVX2 nor AVX-512".to_owned() } else { has.join(", ") }
}

fn found() -> Processor {
    static FOUND: OnceLock<Processor> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let limit = std::env::var(MAX_ISA).unwrap_or_default();
        Processor::detect().limited(&limit).unwrap_or_else(|message| panic!("{message}"))
    })
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
    fn limited(self, limit: &str) -> Result<Self, String> {
        match limit {
            "" => Ok(self),
            "avx2" => Ok(Self { avx2: self.avx2, ..Self::default() }),
            other => Err(format!("{MAX_ISA} is {other:?}; avx2 or nothing is expected")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_hides_what_is_wider() {
        let wide = Processor { avx2: true, avx512: true, bf16: true, vnni: true };
        assert!(wide.limited("").unwrap().bf16);
        let narrow = wide.limited("avx2").unwrap();
        assert!(narrow.avx2 && !narrow.avx512 && !narrow.bf16 && !narrow.vnni);
        let message = wide.limited("sse").unwrap_err();
        assert_eq!(message, "PROTOGUARD_MAX_CPU_ISA is \"sse\"; avx2 or nothing is expected");
    }
}
