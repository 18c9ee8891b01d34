//! Whether a model can do what a request asks of it.

use protoguard_core::{CHANNELS, ModelCard, Outputs};
use protoguard_proto::{ClipRequest, FieldViolation, ImageEncoding, Violations};

use super::context::Context;
use crate::error::ServiceError;
use crate::registry::model::Model;

/// The answers of a call are gathered before they are sent, so that their pictures are bounded as a
/// request is.
pub(super) fn check_answers<'a>(
    context: &Context,
    requests: impl IntoIterator<Item = &'a ClipRequest>,
) -> Result<(), ServiceError> {
    let limit = context.config.max_message_bytes;
    let mut bytes = 0_usize;
    for request in requests {
        let card_of = |model: &Model| picture_bytes(request, model.card());
        // A model that is not there answers without pictures.
        let found = context.registry.find(request.model.as_ref());
        bytes = bytes.saturating_add(found.map_or(0, |model| card_of(&model)));
    }
    if bytes <= limit {
        return Ok(());
    }
    let description = format!(
        "ask for pictures of {bytes} bytes in one answer; at most {limit} are expected, of fewer \
         clips or fewer pictures"
    );
    Err(Violations::from(FieldViolation::new("outputs", description)).into())
}

/// Bytes of the pictures that a request asks for, at most.
fn picture_bytes(request: &ClipRequest, card: &ModelCard) -> usize {
    let Outputs { predicted_frame, rgb_difference, error_map } = request.outputs;
    let planes = CHANNELS * usize::from(predicted_frame)
        + CHANNELS * card.shape.past_frames() * usize::from(rgb_difference && card.motion_branch)
        + usize::from(error_map);
    let value = if request.image_encoding == ImageEncoding::RawF32 { 4 } else { 1 };
    planes * value * card.shape.side().pow(2)
}

/// A clip of another rate than the model's is not what the model knows.
pub(super) fn check_interval(request: &ClipRequest, card: &ModelCard) -> Result<(), Violations> {
    match (request.frame_interval, card.frame_interval) {
        (Some(found), Some(model)) if !found.suits(model) => {
            let description = format!(
                "is {} ms, and model `{}` learnt frames {} ms apart; at most a quarter off is \
                 accepted, or any with any_frame_interval",
                found.milliseconds(),
                card.name,
                model.milliseconds()
            );
            Err(FieldViolation::new("frame_interval_ms", description).into())
        }
        _ => Ok(()),
    }
}

/// A listed output must be possible; a view gives what there is.
pub(super) fn check_outputs(
    request: &ClipRequest,
    model: &Model,
    has_target: bool,
) -> Result<(), ServiceError> {
    let Outputs { error_map, .. } = request.listed_outputs;
    let mut found = Vec::new();
    if error_map && !has_target {
        let frames = model.card().shape.frames();
        let description =
            format!("has OUTPUT_ERROR_MAP without a target; {frames} frames are expected for it");
        found.push(FieldViolation::new("outputs", description));
    }
    found.extend(check_motion("outputs", request.listed_outputs, model.card()).err());
    if found.is_empty() { Ok(()) } else { Err(Violations(found).into()) }
}

/// RGB-difference maps that a field asks for come from a motion branch.
pub(super) fn check_motion(
    field: &str,
    outputs: Outputs,
    card: &ModelCard,
) -> Result<(), FieldViolation> {
    if !outputs.rgb_difference || card.motion_branch {
        return Ok(());
    }
    let description = format!(
        "has OUTPUT_RGB_DIFFERENCE, but model `{}` has no motion branch; OUTPUT_PREDICTED_FRAME \
         and OUTPUT_ERROR_MAP are accepted",
        card.name
    );
    Err(FieldViolation::new(field, description))
}
