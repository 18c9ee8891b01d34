//! The switch that hides instructions from this crate, read once a process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod fixture;

use std::env;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use protoguard_checkpoint::{Checkpoint, Precision};
use protoguard_core::ScorerFactory;
use protoguard_model::{ScorerOptions, TchScorerFactory};

const SWITCH: &str = "PROTOGUARD_MAX_CPU_ISA";
/// Where the process that has the switch finds a checkpoint.
const CHECKPOINT: &str = "PROTOGUARD_TEST_CHECKPOINT";

/// Runs `body` on a checkpoint in a process of its own, in which the switch is at `value`: this
/// program with `test` alone, which comes here again.
fn with_switch_at(value: &str, test: &str, body: impl FnOnce(Checkpoint)) {
    if let Some(path) = env::var_os(CHECKPOINT) {
        assert_eq!(env::var(SWITCH).unwrap(), value);
        return body(Checkpoint::read(Path::new(&path)).unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    Checkpoint::new(fixture::content()).unwrap().write(&path).unwrap();
    let mut program = Command::new(env::current_exe().unwrap());
    program.args(["--exact", test]).env(SWITCH, value).env(CHECKPOINT, path);
    let output = program.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{SWITCH}={value}: {said}");
}

#[test]
fn a_wrong_value_is_an_error_before_anything_is_computed() {
    let test = "a_wrong_value_is_an_error_before_anything_is_computed";
    with_switch_at("sse", test, |checkpoint| {
        let expected = "PROTOGUARD_MAX_CPU_ISA is \"sse\"; it must be avx2, or not set";
        let checkpoint = Arc::new(checkpoint);
        for precision in [Precision::F32, Precision::Auto, Precision::Int8] {
            let mut network = fixture::network(&fixture::config());
            let error = network.set_training_precision(precision).unwrap_err();
            assert_eq!(error.to_string(), expected, "{precision}");
            let options = ScorerOptions { precision, ..ScorerOptions::default() };
            let factory = TchScorerFactory::new(Arc::clone(&checkpoint), options);
            let error = factory.build().err().unwrap().to_string();
            assert_eq!(error, format!("model cannot be loaded: {expected}"), "{precision}");
        }
    });
}

/// oneDNN's own switch is in capitals.
#[test]
fn the_value_may_be_spelled_in_any_case() {
    with_switch_at("AVX2", "the_value_may_be_spelled_in_any_case", |checkpoint| {
        let factory = TchScorerFactory::new(Arc::new(checkpoint), ScorerOptions::default());
        assert_eq!(factory.build_scorer().unwrap().graph().precision(), Precision::F32);
    });
}
