//! `ScoreClip`, alone and by the batch: from a request to its response.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use protoguard_core::{Calibration, Clip, ModelCard, Outputs, ScorerInput};
use protoguard_proto::v1::scoring_service_server::ScoringService;
use protoguard_proto::{ClipRequest, ClipSource, FieldViolation, Violations, v1};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::codegen::http::Extensions;
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::{Instrument, debug, info_span};

use super::decode::DecodeTarget;
use super::offload::offload;
use super::response::{add_pictures, add_verdict, calibration_for, has_pictures, response_of};
use super::status::{code_of, scoring_error};
use super::stream::{self, OpenStreams, StreamAnswers};
use crate::config::ServiceConfig;
use crate::error::{ServiceError, Unavailable};
use crate::metrics::{ModelMetrics, Stage, outcome_of};
use crate::queue::fair_queue::CallerId;
use crate::queue::intake::{Admitted, NotAdmitted};
use crate::registry::model::Model;
use crate::registry::models::Registry;
use crate::transport::counting::AskedModel;
use crate::transport::credentials::Credentials;
use crate::transport::deadline::Deadline;
use crate::transport::peer::Peer;
use crate::transport::trace_context::{TraceContext, Traces};

/// Clips of one call, at most.
const BATCH_CLIPS: usize = 256;

/// `protoguard.v1.ScoringService`.
#[derive(Clone)]
pub(crate) struct Scoring {
    pub(crate) registry: Arc<Registry>,
    pub(crate) config: Arc<ServiceConfig>,
    /// Cancelled when new clips are refused because the server is stopping.
    pub(crate) draining: CancellationToken,
    pub(crate) traces: Option<Arc<dyn Traces>>,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) streams: Arc<OpenStreams>,
}

#[tonic::async_trait]
impl ScoringService for Scoring {
    async fn score_clip(
        &self,
        request: Request<v1::ScoreClipRequest>,
    ) -> Result<Response<v1::ScoreClipResponse>, Status> {
        let extensions = request.extensions();
        let call = Call::of(extensions);
        let trace = TraceContext::of(request.metadata());
        self.score_traced(request.into_inner(), call, trace)
            .await
            .map_err(Status::from)
            .map(Response::new)
    }

    async fn batch_score_clips(
        &self,
        request: Request<v1::BatchScoreClipsRequest>,
    ) -> Result<Response<v1::BatchScoreClipsResponse>, Status> {
        let call = Call::of(request.extensions());
        let trace = TraceContext::of(request.metadata());
        let requests = request.into_inner().requests;
        if !(1..=BATCH_CLIPS).contains(&requests.len()) {
            let description =
                format!("has {} clips; 1 to {BATCH_CLIPS} are expected", requests.len());
            let error = Violations::from(FieldViolation::new("requests", description));
            return Err(ServiceError::from(error).into());
        }
        let each = requests.into_iter().map(|request| async {
            let scored = self.score_traced(request, call.clone(), trace.clone()).await;
            let result = match scored {
                Ok(response) => v1::clip_result::Result::Response(response),
                Err(error) => v1::clip_result::Result::Error(scoring_error(&error)),
            };
            v1::ClipResult { result: Some(result) }
        });
        Ok(Response::new(v1::BatchScoreClipsResponse { results: join_all(each).await }))
    }

    type ScoreStreamStream = StreamAnswers;

    async fn score_stream(
        &self,
        request: Request<Streaming<v1::ScoreStreamRequest>>,
    ) -> Result<Response<StreamAnswers>, Status> {
        Ok(Response::new(stream::start(self.clone(), request)))
    }
}

impl Scoring {
    /// Scores a clip as a part of its caller's trace.
    async fn score_traced(
        &self,
        mut request: v1::ScoreClipRequest,
        call: Call,
        trace: Option<TraceContext>,
    ) -> Result<v1::ScoreClipResponse, ServiceError> {
        if request.request_id.is_empty() {
            request.request_id = format!("{:016x}", fastrand::u64(..));
        }
        let span = info_span!("score_clip", request_id = request.request_id, model = request.model);
        if let (Some(traces), Some(caller)) = (&self.traces, trace) {
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
        answered.instrument(span).await
    }
}

/// Who takes turns in the queue for a request with these extensions.
pub(super) fn caller_of(extensions: &Extensions) -> CallerId {
    extensions.get::<Peer>().map_or(0, |peer| peer.connection)
}

/// What a request says beside its message.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) deadline: Option<Instant>,
    pub(super) caller: CallerId,
    pub(super) asked_model: AskedModel,
}

impl Call {
    pub(super) fn of(extensions: &Extensions) -> Self {
        Self {
            deadline: extensions.get::<Deadline>().map(|deadline| deadline.0),
            caller: caller_of(extensions),
            asked_model: extensions.get::<AskedModel>().cloned().unwrap_or_default(),
        }
    }
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
            if self.draining.is_cancelled() {
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

pub(super) fn count_verdict(response: &v1::ScoreClipResponse, metrics: &ModelMetrics, scene: &str) {
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
