//! Arrays that no network of the configuration has.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod fixture;

use protoguard_checkpoint::{
    Array, Checkpoint, CheckpointContent, CheckpointError, Dtype, MemoryUpdate,
};

use fixture::{refused, without_tensor, written};

#[test]
fn a_missing_tensor_is_named() {
    let error = refused(|content| drop(content.tensors.remove("encoder.2.conv1.weight")));
    let expected =
        "checkpoint tensor encoder.2.conv1.weight is missing; shape [6, 3, 3, 3] is expected";
    assert_eq!(error.to_string(), expected);
    let (_folder, path, _) = written();
    without_tensor(&path, "memory.items");
    let error = Checkpoint::read(&path).unwrap_err();
    assert!(matches!(error, CheckpointError::MissingTensor { .. }), "{error}");
}

#[test]
fn an_unexpected_tensor_is_named() {
    let array = Array::from_f32(vec![1], &[0.0]).unwrap();
    let error =
        refused(|content| drop(content.tensors.insert("encoder.5.conv1.bias".to_owned(), array)));
    let name = "encoder.5.conv1.bias".to_owned();
    assert_eq!(error, CheckpointError::UnexpectedTensor { name });
}

#[test]
fn a_wrong_shape_is_named() {
    let array = Array::from_f32(vec![4], &[0.0; 4]).unwrap();
    let error =
        refused(|content| drop(content.tensors.insert("prediction.last.bias".to_owned(), array)));
    let expected = "checkpoint tensor prediction.last.bias has shape [4]; [3] is expected";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_wrong_dtype_is_named() {
    let array = Array::new(Dtype::Bf16, vec![3], vec![0; 6]).unwrap();
    let error =
        refused(|content| drop(content.tensors.insert("prediction.last.bias".to_owned(), array)));
    let expected = "checkpoint tensor prediction.last.bias has dtype BF16; F32 or F16 is expected";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn nan_is_named_wherever_it_is() {
    let nan = || Array::from_f32(vec![3], &[0.0, f32::NAN, 0.0]).unwrap();
    let error =
        refused(|content| drop(content.tensors.insert("prediction.last.bias".to_owned(), nan())));
    let name = "prediction.last.bias".to_owned();
    assert_eq!(error, CheckpointError::NotFinite { name, index: 1 });
    let error = refused(|content| drop(content.optimizer.insert("m".to_owned(), nan())));
    assert!(matches!(error, CheckpointError::NotFinite { .. }), "{error}");
    let error = refused(|content| {
        content.training.metrics.insert("loss".to_owned(), f64::NAN);
    });
    let name = "metrics.loss".to_owned();
    assert_eq!(error, CheckpointError::NotFinite { name, index: 0 });
}

/// Finite numbers that no training makes, and that would make NaN of every score.
#[test]
fn a_negative_variance_and_a_scale_of_zero_are_named() {
    let with = |content: &mut CheckpointContent, name: &str, array: Array| {
        drop(content.tensors.insert(name.to_owned(), array));
    };
    let array = |values: &[f32]| Array::from_f32(vec![values.len()], values).unwrap();
    let (name, variances) = ("encoder.1.norm2.running_var", [1.0, 0.0, -0.5]);
    let error = refused(|content| with(content, name, array(&variances)));
    assert_eq!(
        error.to_string(),
        "checkpoint tensor encoder.1.norm2.running_var is -0.5 at element 2; a variance of at \
         least 0 is expected"
    );
    let half = Array::new(Dtype::F16, vec![3], vec![0, 0x3c, 0, 0x80, 0, 0xbc]).unwrap();
    let error = refused(|content| with(content, name, half));
    assert!(matches!(error, CheckpointError::OutOfRange { index: 2, found: -1.0, .. }), "{error}");
    // A mean may be below zero, and a variance zero.
    let mut content = fixture::content();
    with(&mut content, name, array(&[0.0, 0.0, 1.0]));
    with(&mut content, "encoder.1.norm2.running_mean", array(&[-1.0, 0.0, 1.0]));
    Checkpoint::new(content).unwrap();

    for (scale, accepted) in [(0.25, true), (0.0, false), (-1.0, false)] {
        let mut content = fixture::content();
        let memory = content.model.memory.as_mut().unwrap();
        (memory.update, memory.normalize_query) = (MemoryUpdate::Ema, false);
        with(&mut content, "memory.scale", array(&[scale]));
        let found = Checkpoint::new(content).map(drop).map_err(|error| error.to_string());
        let expected = format!(
            "checkpoint tensor memory.scale is {scale} at element 0; a number above 0 is expected"
        );
        assert_eq!(found, if accepted { Ok(()) } else { Err(expected) });
    }
}
