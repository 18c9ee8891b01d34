//! Compiles `native/`, the little of libtorch that tch does not bind, against the same libtorch.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=native");
    let libtorch = env::var_os("LIBTORCH")
        .map(PathBuf::from)
        .expect(".cargo/config.toml sets LIBTORCH; run `cargo xtask setup`");
    let include = libtorch.join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .include(include.join("torch/csrc/api/include"))
        .include(include)
        .file("native/bytes.cpp")
        .file("native/convolve.cpp")
        .file("native/host_memory.cpp")
        .file("native/parallel.cpp")
        .file("native/torch_extras.cpp")
        .file("native/up_bytes.cpp")
        .file("native/winograd.cpp")
        .compile("protoguard_torch_extras");
}
