//! What the processor can do, where it decides how something is computed.

macro_rules! has {
    ($($(#[$doc:meta])* $name:ident: $feature:tt;)*) => {
        $($(#[$doc])*
        pub(crate) fn $name() -> bool {
            #[cfg(target_arch = "x86_64")]
            return std::arch::is_x86_feature_detected!($feature);
            #[cfg(not(target_arch = "x86_64"))]
            return false;
        })*
    };
}

has! {
    /// Vectors of 16 numbers in f32.
    has_avx512: "avx512f";
    /// Products of bf16, summed in f32.
    has_bf16: "avx512bf16";
    /// Products of u8 and s8, summed in 32 bits.
    has_vnni: "avx512vnni";
}
