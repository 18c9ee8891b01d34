//! Compiles `native/`, the little of libtorch that tch does not bind, against the same libtorch.
//!
//! With the feature `sanitize` it is compiled for AddressSanitizer and UBSan, whose libraries a
//! program then needs before all others: `cargo xtask test --sanitized` sees to that.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const SANITIZERS: &str = "-fsanitize=address,undefined,float-cast-overflow";

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=native");
    let libtorch = env::var_os("LIBTORCH")
        .map(PathBuf::from)
        .expect(".cargo/config.toml sets LIBTORCH; run `cargo xtask setup`");
    let include = libtorch.join("include");
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .warnings(true)
        .extra_warnings(true)
        // GCC 12 sees it in every optional number that is moved, and nowhere else.
        .flag_if_supported("-Wno-maybe-uninitialized")
        .define("_GLIBCXX_USE_CXX11_ABI", "1");
    // Its headers are of others, and so are their warnings.
    for folder in [include.join("torch/csrc/api/include"), include] {
        build.flag("-isystem").flag(folder);
    }
    for file in [
        "bytes.cpp",
        "convolve.cpp",
        "host_memory.cpp",
        "parallel.cpp",
        "quantized.cpp",
        "torch_extras.cpp",
        "up_bytes.cpp",
        "winograd.cpp",
    ] {
        build.file(Path::new("native").join(file));
    }
    if env::var_os("CARGO_FEATURE_SANITIZE").is_some() {
        // A warning is a finding too, and a finding ends the program.
        build.flags([
            SANITIZERS,
            "-fno-sanitize-recover=all",
            "-fno-omit-frame-pointer",
            "-Werror",
        ]);
        link_sanitizers(&build.get_compiler().to_command());
    }
    build.compile("protoguard_torch_extras");
}

/// The compiler's own libraries, which lie where it says.
fn link_sanitizers(compiler: &Command) {
    for name in ["asan", "ubsan"] {
        let file = format!("lib{name}.so");
        let output = Command::new(compiler.get_program())
            .arg(format!("-print-file-name={file}"))
            .output()
            .expect("the compiler can be started");
        let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let folder = path.parent().filter(|_| path.is_absolute());
        let folder = folder.unwrap_or_else(|| panic!("the compiler has no {file}"));
        println!("cargo:rustc-link-search=native={}", folder.display());
        println!("cargo:rustc-link-lib=dylib={name}");
    }
}
