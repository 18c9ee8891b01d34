//! From clips to scores and pictures, for the service's workers and the trainer's evaluation
//! alike.

use protoguard_core::{
    Clip, ClipMaps, ClipScore, FeatureDistance, Outputs, Plane, PsnrDb, ScorerInput,
};
use protoguard_kernels::transfer;
use tch::{Kind, Tensor};

use crate::batch::Batch;
use crate::encoder::Encoding;
use crate::error::ModelError;
use crate::error::Result;
use crate::graph::{InferenceGraph, Start};
use crate::maps::{DeviceMaps, clip_maps};
use crate::memory::MemoryPass;
use crate::scores;

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
        let by_query = memory.as_ref().map(scores::feature_distance_map).transpose()?;
        let distance = by_query.as_ref().map(scores::mean_distance).transpose()?;
        let maps = error.as_ref().map(|error| clip_maps(&batch, error, by_query.as_ref()));
        let maps = maps.transpose()?;
        let pictures = Pictures { graph, inputs };
        let predicted = pictures.predicted(&prediction)?;
        let differences = pictures.differences(&start)?;
        let errors = pictures.errors(error.as_ref(), &batch.has_target)?;

        // 3. Only now is a GPU waited for: all its work is queued.
        let columns = Columns {
            mse: column(mse.as_ref())?,
            distance: column(distance.as_ref())?,
            maps: maps.as_ref().map(DeviceMaps::download).transpose()?,
            predicted: pictures.spread(predicted)?,
            differences: pictures.spread(differences)?,
            errors: pictures.spread(errors)?,
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
}

/// Pictures of one kind, still on the device.
struct Made {
    /// Positions in the batch of the clips that they are for.
    clips: Vec<i64>,
    /// `[clips, frames · c, S, S]`
    tensor: Tensor,
    /// Pictures a clip.
    frames: usize,
}

impl Pictures<'_> {
    /// Which clips want a picture: their positions, in order; nothing where none does.
    fn wanting(&self, wants: impl Fn(&Outputs) -> bool) -> Option<Vec<i64>> {
        let positions = (0i64..).zip(self.inputs);
        let clips: Vec<i64> =
            positions.filter(|(_, input)| wants(&input.outputs)).map(|(index, _)| index).collect();
        (!clips.is_empty()).then_some(clips)
    }

    /// `[S, S, 3]` in [0, 1] by clip.
    fn predicted(&self, prediction: &Tensor) -> Result<Option<Made>> {
        let Some(clips) = self.wanting(|outputs| outputs.predicted_frame) else { return Ok(None) };
        let tensor = select(prediction, &clips)?.f_add_scalar(1.0)?.f_mul_scalar(0.5)?;
        Ok(Some(Made { clips, tensor, frames: 1 }))
    }

    /// `t` times `[S, S, 3]` in [-2, 2] by clip. What the linear last layer makes beyond is cut.
    fn differences(&self, start: &Tensor) -> Result<Option<Made>> {
        let config = self.graph.config();
        let wanting = self.wanting(|outputs| outputs.rgb_difference);
        let Some(clips) = wanting.filter(|_| config.motion_branch) else { return Ok(None) };
        let generated = self.graph.generate_difference(&select(start, &clips)?)?;
        let Some(difference) = generated else { return Ok(None) };
        let frames = config.shape.past_frames();
        Ok(Some(Made { clips, tensor: difference.f_clamp(-2.0, 2.0)?, frames }))
    }

    /// `[S, S, 1]` by clip with a target.
    fn errors(&self, error: Option<&Tensor>, has_target: &[bool]) -> Result<Option<Made>> {
        let mut clips = self.wanting(|outputs| outputs.error_map).unwrap_or_default();
        clips.retain(|&index| has_target[index as usize]);
        let Some(error) = error.filter(|_| !clips.is_empty()) else { return Ok(None) };
        let tensor = select(error, &clips)?.f_unsqueeze(1)?;
        Ok(Some(Made { clips, tensor, frames: 1 }))
    }

    /// Hands pictures to their clips, none to the others.
    fn spread(&self, made: Option<Made>) -> Result<Vec<Vec<Plane>>> {
        let mut columns = vec![Vec::new(); self.inputs.len()];
        let Some(Made { clips, tensor, frames }) = made else { return Ok(columns) };
        let mut planes = planes(&tensor, frames)?.into_iter();
        for index in clips {
            columns[index as usize] = planes.by_ref().take(frames).collect();
        }
        Ok(columns)
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
    let pictures =
        x.f_reshape([clips * frames, stacked / frames, height, width])?.f_permute([0, 2, 3, 1])?;
    let channels = (stacked / frames) as usize;
    let (height, width) = (height as usize, width as usize);
    let pieces = transfer::download(&pictures, (clips * frames) as usize)?;
    let plane = |values| Plane { height, width, channels, values };
    Ok(pieces.into_iter().map(plane).collect())
}

/// A batch's results, one entry a clip in each.
struct Columns {
    mse: Option<Vec<f64>>,
    distance: Option<Vec<f64>>,
    maps: Option<Vec<ClipMaps>>,
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
            let maps = self.maps.as_ref().filter(|_| has_target).map(|maps| maps[index].clone());
            Ok(ClipScore {
                maps,
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
