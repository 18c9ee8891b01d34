//! The measured clip and its results as a file, for another implementation to compare with.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context;
use protoguard_core::{CHANNELS, Frame, Outputs, Plane, ScorerFactory, ScorerInput};
use safetensors::tensor::{Dtype, TensorView};

use super::workers::textured;

/// A named array in plain bytes.
struct Column {
    name: &'static str,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Writes `clip [t + 1, S, S, 3]` in 8 bits and, in f32, `squared_error [1]` of frames in [0, 1],
/// `feature_distance [1]`, `predicted_frame [S, S, 3]` in [0, 1] and `rgb_difference [t, S, S, 3]`
/// in [-2, 2], as far as the model has them.
///
/// # Errors
/// When the model cannot compute or the file cannot be written.
pub(super) fn write(path: &Path, factory: &dyn ScorerFactory) -> anyhow::Result<()> {
    let shape = factory.card().shape;
    let clip = textured(shape)?;
    let input = ScorerInput { clip: clip.clone(), outputs: Outputs::ALL };
    let scores = factory.build()?.score(&[input])?;
    let score = scores.first().context("the model gave no score")?;

    let pixels = clip.frames().iter().flat_map(Frame::pixels).copied().collect();
    let size = vec![shape.frames(), shape.side(), shape.side(), CHANNELS];
    let mut columns = vec![Column { name: "clip", dtype: Dtype::U8, shape: size, bytes: pixels }];
    let squared_error = score.psnr.map(|psnr| 10f64.powf(-psnr.0 / 10.0));
    let scalars = [
        ("squared_error", squared_error),
        ("feature_distance", score.feature_distance.map(|distance| distance.0)),
    ];
    for (name, value) in scalars {
        columns.extend(value.map(|value| floats(name, vec![1], [value as f32])));
    }
    for (name, planes) in [
        ("predicted_frame", score.predicted_frame.as_slice()),
        ("rgb_difference", score.rgb_difference.as_slice()),
    ] {
        columns.extend(pictures(name, planes));
    }
    let views = columns.iter().map(|column| {
        let Column { name, dtype, shape, bytes } = column;
        Ok((*name, TensorView::new(*dtype, shape.clone(), bytes)?))
    });
    let views = views.collect::<anyhow::Result<HashMap<_, _>>>()?;
    std::fs::write(path, safetensors::serialize(views, None)?)
        .with_context(|| format!("{} cannot be written", path.display()))
}

fn floats(name: &'static str, shape: Vec<usize>, values: impl IntoIterator<Item = f32>) -> Column {
    let bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
    Column { name, dtype: Dtype::F32, shape, bytes }
}

/// One plane as it is, several stacked; nothing for none.
fn pictures(name: &'static str, planes: &[Plane]) -> Option<Column> {
    let first = planes.first()?;
    let mut shape = vec![first.height, first.width, first.channels];
    if name == "rgb_difference" {
        shape.insert(0, planes.len());
    }
    Some(floats(name, shape, planes.iter().flat_map(|plane| plane.values.iter().copied())))
}
