//! What content must be, so that a network can be made of it.

use std::collections::BTreeMap;

use crate::array::{Array, Dtype};
use crate::content::CheckpointContent;
use crate::error::CheckpointError;
use crate::format::RANGES_PREFIX;
use crate::metadata::SCALING;
use crate::plan::{MEMORY_SCALE, NetworkPlan, RUNNING_VARIANCE};

/// Every check that content must pass, whether it was read or made.
pub(super) fn validate(content: &CheckpointContent) -> Result<(), CheckpointError> {
    content.model.validate()?;
    let found = &content.preprocessing.scaling;
    if found != SCALING {
        return Err(CheckpointError::Scaling { found: found.clone() });
    }
    let clip = content.golden.as_ref().map(|golden| golden.clip().shape());
    if clip.is_some_and(|shape| shape != content.model.shape) {
        return Err(CheckpointError::GoldenClip { found: "of another shape" });
    }
    let metrics = &content.training.metrics;
    if let Some((name, _)) = metrics.iter().find(|(_, value)| !value.is_finite()) {
        return Err(CheckpointError::NotFinite { name: format!("metrics.{name}"), index: 0 });
    }
    for calibration in &content.calibrations {
        if calibration.detector.as_ref().is_some_and(|detector| !detector.is_valid()) {
            return Err(CheckpointError::Detector { calibration: calibration.id.clone() });
        }
    }
    for (layer, array) in content.activation_ranges.arrays() {
        check_finite(&format!("{RANGES_PREFIX}{layer}"), &array)?;
    }
    let expected = NetworkPlan::new(&content.model).tensor_shapes();
    check_names(&expected, &content.tensors)?;
    content.tensors.iter().try_for_each(|(name, array)| check_array(name, array))?;
    content.optimizer.iter().try_for_each(|(name, array)| check_finite(name, array))
}

fn check_names(
    expected: &BTreeMap<String, Vec<usize>>,
    found: &BTreeMap<String, Array>,
) -> Result<(), CheckpointError> {
    for (name, shape) in expected {
        let Some(array) = found.get(name) else {
            return Err(CheckpointError::MissingTensor {
                name: name.clone(),
                expected: shape.clone(),
            });
        };
        if array.shape() != shape {
            return Err(CheckpointError::Shape {
                name: name.clone(),
                found: array.shape().to_vec(),
                expected: shape.clone(),
            });
        }
    }
    match found.keys().find(|name| !expected.contains_key(*name)) {
        Some(name) => Err(CheckpointError::UnexpectedTensor { name: name.clone() }),
        None => Ok(()),
    }
}

fn check_array(name: &str, array: &Array) -> Result<(), CheckpointError> {
    // Halves are widened where they are loaded: an export may store them.
    if !matches!(array.dtype(), Dtype::F32 | Dtype::F16) {
        return Err(CheckpointError::Dtype {
            name: name.to_owned(),
            found: array.dtype().to_string(),
            expected: "F32 or F16",
        });
    }
    check_finite(name, array)?;
    check_range(name, array)
}

/// What is taken the square root of, and what queries are divided by.
fn check_range(name: &str, array: &Array) -> Result<(), CheckpointError> {
    let (accepted, refused) = if name.ends_with(RUNNING_VARIANCE) {
        ("a variance of at least 0", array.first_refused(|value| value >= 0.0))
    } else if name == MEMORY_SCALE {
        ("a number above 0", array.first_refused(|value| value > 0.0))
    } else {
        return Ok(());
    };
    match refused {
        Some((index, found)) => {
            Err(CheckpointError::OutOfRange { name: name.to_owned(), index, found, accepted })
        }
        None => Ok(()),
    }
}

fn check_finite(name: &str, array: &Array) -> Result<(), CheckpointError> {
    match array.first_not_finite() {
        Some(index) => Err(CheckpointError::NotFinite { name: name.to_owned(), index }),
        None => Ok(()),
    }
}
