//! `ScoreClip`: from a request to its response.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protoguard_core::{Calibration, Clip, ModelCard, Outputs, ScorerInput};
use protoguard_proto::v1::scoring_service_server::ScoringService;
use protoguard_proto::{ClipRequest, ClipSource, FieldViolation, Violations, v1};
use tokio::time::Instant;
use tonic::codegen::http::Extensions;
use tonic::{Code, Request, Response, Status};
use tracing::{Instrument, debug, info_span};

use super::decode::DecodeTarget;
use super::offload::offload;
use super::response::{add_pictures, add_verdict, calibration_for, has_pictures, response_of};
use super::status::code_of;
use crate::config::ServiceConfig;
use crate::error::{ServiceError, Unavailable};
use crate::metrics::{ModelMetrics, Stage, outcome_of};
use crate::queue::fair_queue::CallerId;
use crate::queue::intake::{Admitted, NotAdmitted};
use crate::registry::model::Model;
use crate::registry::models::Registry;
use crate::transport::counting::AskedModel;
use crate::transport::deadline::Deadline;
use crate::transport::peer::Peer;
use crate::transport::trace_context::{TraceContext, Traces};

/// `protoguard.v1.ScoringService`.
pub(crate) struct Scoring {
    pub(crate) registry: Arc<Registry>,
    pub(crate) config: Arc<ServiceConfig>,
    /// Whether new clips are refused because the server is stopping.
    pub(crate) draining: Arc<AtomicBool>,
    pub(crate) traces: Option<Arc<dyn Traces>>,
}

#[tonic::async_trait]
impl ScoringService for Scoring {
    async fn score_clip(
        &self,
        request: Request<v1::ScoreClipRequest>,
    ) -> Result<Response<v1::ScoreClipResponse>, Status> {
        let extensions = request.extensions();
        let call = Call {
            deadline: extensions.get::<Deadline>().map(|deadline| deadline.0),
            caller: caller_of(extensions),
            asked_model: extensions.get::<AskedModel>().cloned().unwrap_or_default(),
        };
        let caller = TraceContext::of(request.metadata());
        let mut request = request.into_inner();
        if request.request_id.is_empty() {
            request.request_id = format!("{:016x}", fastrand::u64(..));
        }
        let span = info_span!("score_clip", request_id = request.request_id, model = request.model);
        if let (Some(traces), Some(caller)) = (&self.traces, caller) {
            traces.join(&span, &caller);
        }
        let answered = async {
            let answered = self.score(request, call).await;
            match &answered {
                Ok(response) => debug!(timings = ?response.timings, "clip scored"),
                Err(error) => debug!(error = %error, "clip refused"),
            }
            answered
        };
        Ok(Response::new(answered.instrument(span).await?))
    }

    async fn batch_score_clips(
        &self,
        _: Request<v1::BatchScoreClipsRequest>,
    ) -> Result<Response<v1::BatchScoreClipsResponse>, Status> {
        Err(ServiceError::UnknownMethod.into())
    }

    type ScoreStreamStream = tokio_stream::Empty<Result<v1::ScoreStreamResponse, Status>>;

    async fn score_stream(
        &self,
        _: Request<tonic::Streaming<v1::ScoreStreamRequest>>,
    ) -> Result<Response<Self::ScoreStreamStream>, Status> {
        Err(ServiceError::UnknownMethod.into())
    }
}

/// Who takes turns in the queue for a request with these extensions.
pub(super) fn caller_of(extensions: &Extensions) -> CallerId {
    extensions.get::<Peer>().map_or(0, |peer| peer.connection)
}

/// What a request says beside its message.
struct Call {
    deadline: Option<Instant>,
    caller: CallerId,
    asked_model: AskedModel,
}

/// A request whose clip has its room in a model.
struct Placed {
    model: Arc<Model>,
    admitted: Admitted,
    target: DecodeTarget,
    calibration: Option<Calibration>,
}

/// A clip that was decoded.
struct Decoded {
    clip: Clip,
    took: Duration,
}

impl Scoring {
    /// 1. check and admit, 2. decode, 3. queue and compute, 4. respond.
    async fn score(
        &self,
        request: v1::ScoreClipRequest,
        call: Call,
    ) -> Result<v1::ScoreClipResponse, ServiceError> {
        let request = ClipRequest::try_from(request)?;
        let Placed { model, mut admitted, target, calibration } = self.place(&request, &call)?;
        let ClipRequest { source, scene, outputs, image_encoding, request_id, .. } = request;

        let decoded = decode(&model, target, source).await;
        let Decoded { clip, took } = decoded.inspect_err(|_| admitted.refuse())?;

        let input = ScorerInput { clip, outputs };
        let scored = model.intake().score(admitted, input, request_id.clone());
        let scored = scored.instrument(info_span!("queue_and_compute")).await?;

        let mut response = response_of(model.card(), &scored, took);
        response.request_id = request_id;
        let rate = self.config.false_alarm_rate;
        add_verdict(&mut response, &scored.score, calibration.as_ref(), rate);
        count_verdict(&response, model.metrics(), &scene.unwrap_or_default());
        if !has_pictures(&scored.score) {
            return Ok(response);
        }
        offload("encoding of pictures", move || {
            add_pictures(&mut response, &scored.score, image_encoding).map(|()| response)
        })
        .await?
    }

    /// Finds the model, checks the request against it and takes room for the clip. All again where
    /// another model has taken its place in between.
    fn place(&self, request: &ClipRequest, call: &Call) -> Result<Placed, ServiceError> {
        loop {
            let model = self.registry.find(request.model.as_ref())?;
            call.asked_model.set(&model.slot().name);
            let calibration = calibration_for(model.card(), request.scene.as_deref())?.cloned();
            let target = DecodeTarget { shape: model.card().shape, limits: self.config.decode };
            target.check_count(&request.source)?;
            check_outputs(request, &model, target.has_target(&request.source))?;
            check_interval(request, model.card())?;
            if self.draining.load(Ordering::Acquire) {
                return Err(ServiceError::Unavailable {
                    model: model.slot().to_string(),
                    why: Unavailable::Draining,
                });
            }
            match model.intake().admit(target.bytes(&request.source), call.caller, call.deadline) {
                Ok(admitted) => return Ok(Placed { model, admitted, target, calibration }),
                Err(NotAdmitted::Refused(error)) => return Err(error),
                Err(NotAdmitted::Replaced) => {}
            }
        }
    }
}

async fn decode(
    model: &Model,
    target: DecodeTarget,
    source: ClipSource,
) -> Result<Decoded, ServiceError> {
    let started = Instant::now();
    let decoding = offload("decoding", move || target.clip(&source));
    let clip = decoding.instrument(info_span!("decode")).await;
    let clip = clip.and_then(|clip| clip.map_err(ServiceError::from));
    let took = started.elapsed();
    let code = clip.as_ref().err().map_or(Code::Ok, code_of);
    model.metrics().took(Stage::Decode, outcome_of(code), took);
    Ok(Decoded { clip: clip?, took })
}

fn count_verdict(response: &v1::ScoreClipResponse, metrics: &ModelMetrics, scene: &str) {
    if let Some(regularity) = response.regularity {
        metrics.regularity(scene, regularity);
    }
    if let Some(surprise) = response.surprise {
        metrics.surprise(scene, surprise);
    }
}

/// A clip of another rate than the model's is not what the model knows.
fn check_interval(request: &ClipRequest, card: &ModelCard) -> Result<(), Violations> {
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
