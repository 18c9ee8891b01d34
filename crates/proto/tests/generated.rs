//! The checked-in code under `src/generated` is what the protos under `proto/` generate.
//!
//! This is also the generator: with `PROTOGUARD_CODEGEN=write` in the environment the test writes
//! the files in place of comparing them (`cargo xtask codegen` runs it so). protox compiles the
//! protos, so no `protoc` is needed, and a build never generates anything.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

const PROTOS: [&str; 3] = [
    "inference/grpc_inference_service.proto",
    "protoguard/v1/model_service.proto",
    "protoguard/v1/scoring_service.proto",
];
const FILES: [&str; 3] = ["inference.rs", "protoguard.v1.rs", "descriptors.bin"];

fn crate_root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Writes the Rust types and the descriptor set for reflection, comments included.
fn generate(folder: &Path) {
    let includes = crate_root().join("../../proto");
    let mut compiler = protox::Compiler::new([includes]).unwrap();
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(PROTOS).unwrap();
    fs::write(folder.join("descriptors.bin"), compiler.encode_file_descriptor_set()).unwrap();
    tonic_prost_build::configure()
        .out_dir(folder)
        // Shared buffers: a request's frames are not copied out of the message.
        .bytes(".")
        .btree_map(".")
        .emit_rerun_if_changed(false)
        .compile_fds(compiler.file_descriptor_set())
        .unwrap();
}

#[test]
fn checked_in_code_is_what_the_protos_generate() {
    let checked_in = crate_root().join("src/generated");
    if std::env::var_os("PROTOGUARD_CODEGEN").is_some_and(|mode| mode == "write") {
        return generate(&checked_in);
    }
    let fresh = tempfile::tempdir().unwrap();
    generate(fresh.path());
    for file in FILES {
        let expected = fs::read(fresh.path().join(file)).unwrap();
        let found = fs::read(checked_in.join(file)).unwrap_or_default();
        assert!(
            found == expected,
            "src/generated/{file} is stale; `cargo xtask codegen` writes it"
        );
    }
}

#[test]
fn every_proto_is_compiled() {
    let in_folder = |package: &str| {
        let folder = crate_root().join("../../proto").join(package);
        let entries = fs::read_dir(folder).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let named = entries.map(|entry| format!("{package}/{}", name(entry.unwrap())));
        named.collect::<Vec<String>>()
    };
    let mut found: Vec<String> = ["inference", "protoguard/v1"].map(in_folder).concat();
    found.sort();
    assert_eq!(found, PROTOS);
}
