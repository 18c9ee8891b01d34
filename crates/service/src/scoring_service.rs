use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protoguard_core::{Outputs, ScorerInput};
use protoguard_proto::v1::scoring_service_server::ScoringService;
use protoguard_proto::{ClipRequest, FieldViolation, Violations, scores_to_wire, v1};
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use tracing::{Instrument, debug, info_span};

use crate::deadline::Deadline;
use crate::decode::DecodeTarget;
use crate::job::Scored;
use crate::model::{Model, QueuedClip};
use crate::offload::offload;
use crate::pictures::add_pictures;
use crate::registry::Registry;
use crate::verdict::{add_verdict, calibration_for};
use crate::{ServiceConfig, ServiceError, Unavailable};

/// `protoguard.v1.ScoringService`.
pub(crate) struct Scoring {
    pub(crate) registry: Arc<Registry>,
    pub(crate) config: Arc<ServiceConfig>,
    /// Whether new clips are refused because the server is stopping.
    pub(crate) draining: Arc<AtomicBool>,
}

/// A clip's scores with what its way through the service took.
struct Answer {
    scored: Scored,
    decode: Duration,
}

#[tonic::async_trait]
impl ScoringService for Scoring {
    async fn score_clip(
        &self,
        request: Request<v1::ScoreClipRequest>,
    ) -> Result<Response<v1::ScoreClipResponse>, Status> {
        let deadline = request.extensions().get::<Deadline>().map(|deadline| deadline.0);
        let request = request.into_inner();
        let span = info_span!("score_clip", request_id = request.request_id, model = request.model);
        let answered = async {
            let answered = self.score(request, deadline).await;
            match &answered {
                Ok(response) => debug!(timings = ?response.timings, "clip scored"),
                Err(error) => debug!(error = %error, "clip refused"),
            }
            answered
        };
        Ok(Response::new(answered.instrument(span).await?))
    }
}

impl Scoring {
    /// 1. check, 2. admit, 3. decode, 4. queue and compute, 5. encode.
    async fn score(
        &self,
        request: v1::ScoreClipRequest,
        deadline: Option<Instant>,
    ) -> Result<v1::ScoreClipResponse, ServiceError> {
        let request = ClipRequest::try_from(request)?;
        let model = self.registry.find(request.model.as_ref())?;
        let calibration = calibration_for(model.card(), request.scene.as_deref())?.cloned();
        let target = DecodeTarget { shape: model.card().shape, limits: self.config.decode };
        target.check_count(&request.source)?;
        check_outputs(&request, &model, target.has_target(&request.source))?;

        let (request_id, image_encoding) = (request.request_id.clone(), request.image_encoding);
        let Answer { scored, decode } = self.compute(&model, target, request, deadline).await?;

        let mut response = scores_to_wire(&scored.score);
        let rate = self.config.false_alarm_rate;
        add_verdict(&mut response, &scored.score, calibration.as_ref(), rate);
        response.model = model.card().name.clone();
        response.model_version = model.card().version.clone();
        response.request_id = request_id;
        response.timings = Some(timings(&scored, decode));
        if !has_pictures(&scored) {
            return Ok(response);
        }
        offload("encoding of pictures", move || {
            add_pictures(&mut response, &scored.score, image_encoding).map(|()| response)
        })
        .await?
    }

    async fn compute(
        &self,
        model: &Model,
        target: DecodeTarget,
        request: ClipRequest,
        deadline: Option<Instant>,
    ) -> Result<Answer, ServiceError> {
        if self.draining.load(Ordering::Acquire) {
            let model = model.card().name.clone();
            return Err(ServiceError::Unavailable { model, why: Unavailable::Draining });
        }
        let admitted = model.admit(target.bytes(&request.source))?;
        let started = Instant::now();
        let ClipRequest { source, outputs, .. } = request;
        let clip = offload("decoding", move || target.clip(&source)).await??;
        let decode = started.elapsed();
        let clip = QueuedClip { input: ScorerInput { clip, outputs }, deadline };
        Ok(Answer { scored: model.score(admitted, clip).await?, decode })
    }
}

/// A listed output must be possible; a view gives what there is.
fn check_outputs(
    request: &ClipRequest,
    model: &Model,
    has_target: bool,
) -> Result<(), ServiceError> {
    let Outputs { rgb_difference, error_map, .. } = request.listed_outputs;
    let mut found = Vec::new();
    if error_map && !has_target {
        let frames = model.card().shape.frames();
        let description =
            format!("has OUTPUT_ERROR_MAP without a target; {frames} frames are expected for it");
        found.push(FieldViolation::new("outputs", description));
    }
    if rgb_difference && !model.card().motion_branch {
        let description = format!(
            "has OUTPUT_RGB_DIFFERENCE, but model `{}` has no motion branch; \
             OUTPUT_PREDICTED_FRAME and OUTPUT_ERROR_MAP are accepted",
            model.card().name
        );
        found.push(FieldViolation::new("outputs", description));
    }
    if found.is_empty() { Ok(()) } else { Err(Violations(found).into()) }
}

fn has_pictures(scored: &Scored) -> bool {
    let score = &scored.score;
    score.predicted_frame.is_some() || score.error_map.is_some() || !score.rgb_difference.is_empty()
}

fn timings(scored: &Scored, decode: Duration) -> v1::Timings {
    let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    v1::Timings {
        queue_us: us(scored.queue),
        decode_us: us(decode),
        compute_us: us(scored.compute),
        batch_size: u32::try_from(scored.batch_size).unwrap_or(u32::MAX),
    }
}
