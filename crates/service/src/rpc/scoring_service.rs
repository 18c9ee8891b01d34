//! `ScoreClip`, alone and by the batch: from a request to its response.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use protoguard_core::{Calibration, Clip, ScorerInput};
use protoguard_proto::v1::scoring_service_server::ScoringService;
use protoguard_proto::{ClipRequest, ClipSource, FieldViolation, ModelRef, Violations, v1};
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::{Instrument, debug, info_span};

use super::call::Call;
use super::checks::{check_answers, check_interval, check_outputs};
use super::context::Context;
use super::decode::DecodeTarget;
use super::offload::offload;
use super::response::{
    add_pictures, add_verdict, calibration_for, count_verdict, has_pictures, response_of,
};
use super::status::{code_of, scoring_error};
use super::stream::{self, StreamAnswers};
use crate::error::{ServiceError, Unavailable};
use crate::metrics::{Stage, outcome_of};
use crate::queue::intake::{Admitted, NotAdmitted};
use crate::registry::model::Model;
use crate::transport::trace_context::TraceContext;

/// Clips of one call, at most.
const BATCH_CLIPS: usize = 256;

/// `protoguard.v1.ScoringService`.
#[derive(Clone)]
pub(crate) struct Scoring(pub(crate) Context);

#[tonic::async_trait]
impl ScoringService for Scoring {
    async fn score_clip(
        &self,
        request: Request<v1::ScoreClipRequest>,
    ) -> Result<Response<v1::ScoreClipResponse>, Status> {
        let extensions = request.extensions();
        let call = Call::of(extensions);
        let trace = TraceContext::of(request.metadata());
        self.score_message(request.into_inner(), call, trace)
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
        let requests: Vec<_> = requests.into_iter().map(ClipRequest::try_from).collect();
        check_answers(&self.0, requests.iter().flatten())?;
        let each = requests.into_iter().map(|request| async {
            let scored = match request {
                Ok(request) => self.score_traced(request, call.clone(), trace.clone()).await,
                Err(violations) => Err(violations.into()),
            };
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
        Ok(Response::new(stream::start(self.0.clone(), request)))
    }
}

impl Scoring {
    /// Checks what a message says and scores its clip.
    async fn score_message(
        &self,
        message: v1::ScoreClipRequest,
        call: Call,
        trace: Option<TraceContext>,
    ) -> Result<v1::ScoreClipResponse, ServiceError> {
        let id = message.request_id.clone();
        match ClipRequest::try_from(message) {
            Ok(request) => self.score_traced(request, call, trace).await,
            Err(violations) => {
                debug!(request_id = id, error = %violations, "clip refused");
                Err(violations.into())
            }
        }
    }

    /// Scores a clip as a part of its caller's trace.
    pub(super) async fn score_traced(
        &self,
        mut request: ClipRequest,
        call: Call,
        trace: Option<TraceContext>,
    ) -> Result<v1::ScoreClipResponse, ServiceError> {
        if request.request_id.is_empty() {
            request.request_id = format!("{:016x}", fastrand::u64(..));
        }
        let model = request.model.as_ref().map(ModelRef::to_string).unwrap_or_default();
        let span = info_span!("score_clip", request_id = request.request_id, model);
        self.0.join(&span, trace.as_ref());
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
        request: ClipRequest,
        call: Call,
    ) -> Result<v1::ScoreClipResponse, ServiceError> {
        let Placed { model, mut admitted, target, calibration } = self.place(&request, &call)?;
        let ClipRequest { source, scene, outputs, image_encoding, request_id, .. } = request;

        let decoded = decode(&model, target, source).await;
        let Decoded { clip, took } = decoded.inspect_err(|_| admitted.refuse())?;

        let input = ScorerInput { clip, outputs };
        let scored = model.intake().score(admitted, input, request_id.clone());
        let scored = scored.instrument(info_span!("queue_and_compute")).await?;

        let mut response = response_of(model.card(), &scored, took);
        response.request_id = request_id;
        let rate = self.0.config.false_alarm_rate;
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
            let model = self.0.registry.find(request.model.as_ref())?;
            call.asked_model.set(&model.slot().name);
            let calibration = calibration_for(model.card(), request.scene.as_deref())?.cloned();
            let target = DecodeTarget { shape: model.card().shape, limits: self.0.config.decode };
            target.check_count(&request.source)?;
            check_outputs(request, &model, target.has_target(&request.source))?;
            check_interval(request, model.card())?;
            if self.0.draining.is_cancelled() {
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
