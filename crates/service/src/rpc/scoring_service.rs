//! `ScoreClip`: from a request to its response.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protoguard_core::{Calibration, Outputs, ScorerInput};
use protoguard_proto::v1::scoring_service_server::ScoringService;
use protoguard_proto::{ClipRequest, FieldViolation, Violations, scores_to_wire, v1};
use tokio::time::Instant;
use tonic::codegen::http::Extensions;
use tonic::{Code, Request, Response, Status};
use tracing::{Instrument, debug, info_span};

use crate::config::ServiceConfig;
use crate::error::{ServiceError, Unavailable};
use crate::metrics::{Stage, outcome_of};
use crate::queue::fair_queue::CallerId;
use crate::queue::job::Scored;
use crate::registry::model::{Admitted, Model, NotAdmitted, QueuedClip};
use crate::registry::models::Registry;
use crate::rpc::decode::DecodeTarget;
use crate::rpc::offload::offload;
use crate::rpc::pictures::add_pictures;
use crate::rpc::status::code_of;
use crate::rpc::verdict::{add_verdict, calibration_for};
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

impl Scoring {
    /// 1. check, 2. admit, 3. decode, 4. queue and compute, 5. encode.
    async fn score(
        &self,
        request: v1::ScoreClipRequest,
        call: Call,
    ) -> Result<v1::ScoreClipResponse, ServiceError> {
        let request = ClipRequest::try_from(request)?;
        let placed = self.place(&request, &call)?;
        let (model, calibration) = (Arc::clone(&placed.model), placed.calibration.clone());
        let (request_id, image_encoding) = (request.request_id.clone(), request.image_encoding);
        let scene = request.scene.clone().unwrap_or_default();
        let Answer { scored, decode } = compute(placed, request, call).await?;

        let mut response = scores_to_wire(&scored.score);
        let rate = self.config.false_alarm_rate;
        add_verdict(&mut response, &scored.score, calibration.as_ref(), rate);
        if let Some(regularity) = response.regularity {
            model.metrics().regularity(&scene, regularity);
        }
        if let Some(surprise) = response.surprise {
            model.metrics().surprise(&scene, surprise);
        }
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
            if self.draining.load(Ordering::Acquire) {
                let (model, why) = (model.slot().to_string(), Unavailable::Draining);
                return Err(ServiceError::Unavailable { model, why });
            }
            match model.admit(target.bytes(&request.source), call.caller, call.deadline) {
                Ok(admitted) => return Ok(Placed { model, admitted, target, calibration }),
                Err(NotAdmitted::Refused(error)) => return Err(error),
                Err(NotAdmitted::Replaced) => {}
            }
        }
    }
}

async fn compute(placed: Placed, request: ClipRequest, call: Call) -> Result<Answer, ServiceError> {
    let Placed { model, admitted, target, .. } = placed;
    let started = Instant::now();
    let ClipRequest { source, outputs, request_id, .. } = request;
    let decoding = offload("decoding", move || target.clip(&source));
    let decoded = decoding.instrument(info_span!("decode")).await;
    let decoded = decoded.and_then(|clip| clip.map_err(ServiceError::from));
    let decode = started.elapsed();
    let outcome = decoded.as_ref().err().map_or(Code::Ok, code_of);
    model.metrics().took(Stage::Decode, outcome_of(outcome), decode);
    let clip = match decoded {
        Ok(clip) => clip,
        Err(error) => {
            admitted.refuse();
            return Err(error);
        }
    };
    let input = ScorerInput { clip, outputs };
    let Call { deadline, caller, .. } = call;
    let clip = QueuedClip { input, deadline, caller, request_id };
    let scored = model.score(admitted, clip).instrument(info_span!("queue_and_compute")).await?;
    Ok(Answer { scored, decode })
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
