//! From clips to scores and pictures, for the service's workers and the trainer's evaluation
//! alike.

use protoguard_core::{Clip, ClipScore, FeatureDistance, Outputs, Plane, PsnrDb, ScorerInput};
use tch::{Device, Kind, Tensor};

use crate::batch::Batch;
use crate::encoder::Encoding;
use crate::error::ModelError;
use crate::graph::{InferenceGraph, Start};
use crate::memory::MemoryPass;
use crate::{Result, scores};

/// Scores clips in order. All share the encoder and the prediction decoder; only those that want
/// RGB differences go through the motion decoder. No batch mate changes a clip's score.
///
/// # Errors
/// When a clip has another shape than the graph, a score is not finite, or libtorch refuses.
pub(crate) fn score_batch(
    graph: &InferenceGraph,
    inputs: &[ScorerInput],
) -> Result<Vec<ClipScore>> {
    score_observed(graph, inputs, &mut |_| Ok(()))
}

/// As [`score_batch`], showing `observe` what was read from the memory, where there is one.
///
/// # Errors
/// As [`score_batch`], and what `observe` fails with.
pub(crate) fn score_observed(
    graph: &InferenceGraph,
    inputs: &[ScorerInput],
    observe: &mut dyn FnMut(&MemoryPass) -> Result<()>,
) -> Result<Vec<ClipScore>> {
    if inputs.is_empty() {
        return Ok(Vec::new());
    }
    check_shapes(graph, inputs)?;
    tch::no_grad(|| {
        // 1. One upload, one pass through what every clip needs.
        let clips: Vec<Clip> = inputs.iter().map(|input| input.clip.clone()).collect();
        let batch = Batch::from_clips(&clips, graph.device())?;
        let Encoding { z, skips } = graph.encode(&batch.input)?;
        let start = graph.recall(&z)?;
        let prediction = graph.predict(&start, &skips)?.f_to_kind(Kind::Float)?;
        let Start { tensor: start, memory } = start;
        memory.as_ref().map_or(Ok(()), &mut *observe)?;

        // 2. The scores, and the pictures of those who asked.
        let error = match &batch.target {
            Some(target) => Some(scores::error_map(&prediction, target)?),
            None => None,
        };
        let mse = error.as_ref().map(scores::mean_squared_error).transpose()?;
        let distance = memory.as_ref().map(scores::feature_distance).transpose()?;
        let pictures = Pictures { graph, inputs, start: &start };
        let columns = Columns {
            mse: column(mse.as_ref())?,
            distance: column(distance.as_ref())?,
            predicted: pictures.predicted(&prediction)?,
            differences: pictures.differences()?,
            errors: pictures.errors(error.as_ref(), &batch.has_target)?,
        };
        columns.into_scores(&batch.has_target)
    })
}

fn check_shapes(graph: &InferenceGraph, inputs: &[ScorerInput]) -> Result<()> {
    let shape = graph.config().shape;
    let describe = |shape: protoguard_core::ClipShape| {
        format!("{} past frames of {} pixels", shape.past_frames(), shape.side())
    };
    match inputs.iter().position(|input| input.clip.shape() != shape) {
        None => Ok(()),
        Some(index) => Err(ModelError::Batch {
            field: "shape",
            index,
            found: describe(inputs[index].clip.shape()),
            expected: describe(shape),
        }),
    }
}

fn column(values: Option<&Tensor>) -> Result<Option<Vec<f64>>> {
    Ok(values.map(Vec::<f64>::try_from).transpose()?)
}

/// The pictures that some clips of a batch want.
struct Pictures<'a> {
    graph: &'a InferenceGraph,
    inputs: &'a [ScorerInput],
    start: &'a Tensor,
}

impl Pictures<'_> {
    /// Which clips want a picture: their positions, in order.
    fn wanting(&self, wants: impl Fn(&Outputs) -> bool) -> Vec<i64> {
        let positions = (0i64..).zip(self.inputs);
        positions.filter(|(_, input)| wants(&input.outputs)).map(|(index, _)| index).collect()
    }

    /// `[S, S, 3]` in [0, 1] by clip.
    fn predicted(&self, prediction: &Tensor) -> Result<Vec<Vec<Plane>>> {
        let wanting = self.wanting(|outputs| outputs.predicted_frame);
        if wanting.is_empty() {
            return Ok(self.spread(&wanting, Vec::new(), 1));
        }
        let unit = select(prediction, &wanting)?.f_add_scalar(1.0)?.f_mul_scalar(0.5)?;
        Ok(self.spread(&wanting, planes(&unit, 1)?, 1))
    }

    /// `t` times `[S, S, 3]` in [-2, 2] by clip. What the linear last layer makes beyond is cut.
    fn differences(&self) -> Result<Vec<Vec<Plane>>> {
        let frames = self.graph.config().shape.past_frames();
        let wanting = self.wanting(|outputs| outputs.rgb_difference);
        if wanting.is_empty() || !self.graph.config().motion_branch {
            return Ok(self.spread(&[], Vec::new(), frames));
        }
        let generated = self.graph.generate_difference(&select(self.start, &wanting)?)?;
        let made = match generated {
            Some(difference) => planes(&difference.f_clamp(-2.0, 2.0)?, frames)?,
            None => Vec::new(),
        };
        Ok(self.spread(&wanting, made, frames))
    }

    /// `[S, S, 1]` by clip with a target.
    fn errors(&self, error: Option<&Tensor>, has_target: &[bool]) -> Result<Vec<Vec<Plane>>> {
        let mut wanting = self.wanting(|outputs| outputs.error_map);
        wanting.retain(|&index| has_target[index as usize]);
        match error.filter(|_| !wanting.is_empty()) {
            None => Ok(self.spread(&[], Vec::new(), 1)),
            Some(error) => {
                let chosen = select(error, &wanting)?.f_unsqueeze(1)?;
                Ok(self.spread(&wanting, planes(&chosen, 1)?, 1))
            }
        }
    }

    /// Hands `each` planes in turn to the clips at `positions`, none to the others.
    fn spread(&self, positions: &[i64], planes: Vec<Plane>, each: usize) -> Vec<Vec<Plane>> {
        let mut planes = planes.into_iter();
        let mut columns = vec![Vec::new(); self.inputs.len()];
        for &index in positions {
            columns[index as usize] = planes.by_ref().take(each).collect();
        }
        columns
    }
}

fn select(x: &Tensor, positions: &[i64]) -> Result<Tensor> {
    if positions.len() as i64 == x.size()[0] {
        return Ok(x.shallow_clone());
    }
    Ok(x.f_index_select(0, &Tensor::f_from_slice(positions)?.f_to_device(x.device())?)?)
}

/// `[n, frames · c, S, S]` → `n · frames` planes `[S, S, c]`.
fn planes(x: &Tensor, frames: usize) -> Result<Vec<Plane>> {
    let (clips, stacked, height, width) = x.size4()?;
    let frames = frames as i64;
    let pictures = x
        .f_reshape([clips * frames, stacked / frames, height, width])?
        .f_permute([0, 2, 3, 1])?
        .f_to_kind(Kind::Float)?
        .f_contiguous()?
        .f_to_device(Device::Cpu)?;
    let mut values = vec![0f32; pictures.numel()];
    pictures.f_copy_data(&mut values, pictures.numel())?;
    let channels = (stacked / frames) as usize;
    let (height, width) = (height as usize, width as usize);
    let plane = |values: &[f32]| Plane { height, width, channels, values: values.into() };
    Ok(values.chunks_exact(height * width * channels).map(plane).collect())
}

/// A batch's results, one entry a clip in each.
struct Columns {
    mse: Option<Vec<f64>>,
    distance: Option<Vec<f64>>,
    predicted: Vec<Vec<Plane>>,
    differences: Vec<Vec<Plane>>,
    errors: Vec<Vec<Plane>>,
}

impl Columns {
    fn into_scores(self, has_target: &[bool]) -> Result<Vec<ClipScore>> {
        let pictures = self.predicted.into_iter().zip(self.differences).zip(self.errors);
        let rows = has_target.iter().zip(pictures).enumerate();
        rows.map(|(index, (&has_target, ((predicted, rgb_difference), errors)))| {
            let mse = self.mse.as_ref().filter(|_| has_target).map(|mse| mse[index]);
            let distance = self.distance.as_ref().map(|distance| distance[index]);
            Ok(ClipScore {
                psnr: finite("squared error", index, mse)?.map(PsnrDb::from_mse),
                feature_distance: finite("feature distance", index, distance)?.map(FeatureDistance),
                predicted_frame: predicted.into_iter().next(),
                rgb_difference,
                error_map: errors.into_iter().next(),
            })
        })
        .collect()
    }
}

/// Without this a NaN would come out as the PSNR of a perfect prediction.
fn finite(field: &'static str, index: usize, value: Option<f64>) -> Result<Option<f64>> {
    match value {
        Some(value) if !value.is_finite() => Err(ModelError::Batch {
            field,
            index,
            found: value.to_string(),
            expected: "a finite number".to_owned(),
        }),
        value => Ok(value),
    }
}
