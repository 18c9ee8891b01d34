//! Which service answers which path, and what every request passes on its way there.

use std::sync::Arc;

use protoguard_proto::FILE_DESCRIPTOR_SET;
use protoguard_proto::oip::grpc_inference_service_server::GrpcInferenceServiceServer;
use protoguard_proto::v1::model_service_server::ModelServiceServer;
use protoguard_proto::v1::scoring_service_server::ScoringServiceServer;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::codegen::http::Request;
use tonic::service::Routes;
use tonic_reflection::pb as reflection_pb;
use tonic_reflection::server::Error as ReflectionError;
use tower::ServiceBuilder;

use super::call::caller_of;
use super::context::Context;
use super::inference_service::Inference;
use super::model_service::Models;
use super::scoring_service::Scoring;
use super::status::{in_our_words, refusals_answered};
use crate::registry::model::Surroundings;
use crate::registry::models::Registry;
use crate::registry::reload::Reloader;
use crate::transport::SCORE_STREAM;
use crate::transport::byte_budget::ByteBudget;
use crate::transport::connection::Answers;
use crate::transport::counting::{AskedModel, CountingLayer};
use crate::transport::credentials::{Caller, Credentials, Standing};
use crate::transport::deadline::{Deadline, DeadlineLayer};
use crate::transport::peer::Peer;
use crate::transport::receiving::Receiving;
use crate::transport::trace_context::Traces;

/// What is refused on its headers where it would be too late.
const SCORE_CLIP: &str = "/protoguard.v1.ScoringService/ScoreClip";
const GZIP: CompressionEncoding = CompressionEncoding::Gzip;
const ZSTD: CompressionEncoding = CompressionEncoding::Zstd;

/// What the services answer from.
pub(crate) struct Routing {
    pub(crate) registry: Arc<Registry>,
    pub(crate) reloader: Reloader,
    pub(crate) around: Surroundings,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) draining: CancellationToken,
    /// Nobody collects spans where absent.
    pub(crate) traces: Option<Arc<dyn Traces>>,
}

impl Routing {
    /// The whole way of a request, the outermost step first: its deadline ends it, its end is
    /// counted, it is refused on its headers without a credential or where it would be too late,
    /// its message is received within bounds, and its method answers.
    pub(crate) fn service(self) -> Result<impl Answers, ReflectionError> {
        let config = &self.around.config;
        let max_message_bytes = config.max_message_bytes;
        let receiving = Receiving {
            timeout: config.connections.receive_timeout,
            max_message_bytes,
            budget: ByteBudget::new(config.connections.max_receiving_bytes),
            status: Status::from,
        };
        let credentials = Arc::clone(&self.credentials);
        let registry = Arc::clone(&self.registry);
        Ok(ServiceBuilder::new()
            .layer(DeadlineLayer { status: Status::from })
            .layer(CountingLayer { metrics: self.around.metrics.clone() })
            .map_result(refusals_answered)
            .filter(move |request| with_credential(&credentials, request))
            .filter(move |request| in_time(&registry, request))
            .map_response(move |response| in_our_words(response, max_message_bytes))
            .map_request(move |request| receiving.bounded(request))
            .service(self.routes()?))
    }

    fn routes(self) -> Result<Routes, ReflectionError> {
        let limit = self.around.config.max_message_bytes;
        let scoring = Scoring(Context {
            registry: Arc::clone(&self.registry),
            config: Arc::clone(&self.around.config),
            draining: self.draining,
            traces: self.traces,
            credentials: self.credentials,
            streams: Arc::default(),
        });
        let models = Models { registry: self.registry, reloader: self.reloader };
        // Either version of reflection lists both; by itself each would list its own alone.
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .include_reflection_service(false)
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(reflection_pb::v1::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(reflection_pb::v1alpha::FILE_DESCRIPTOR_SET)
        };
        // The limit holds for a message as it is after decompression. Answers are compressed for
        // callers that accept it.
        let inference = GrpcInferenceServiceServer::new(Inference(scoring.clone()))
            .max_decoding_message_size(limit)
            .accept_compressed(GZIP)
            .accept_compressed(ZSTD)
            .send_compressed(ZSTD)
            .send_compressed(GZIP);
        let scoring = ScoringServiceServer::new(scoring)
            .max_decoding_message_size(limit)
            .accept_compressed(GZIP)
            .accept_compressed(ZSTD)
            .send_compressed(ZSTD)
            .send_compressed(GZIP);
        let models = ModelServiceServer::new(models).max_decoding_message_size(limit);
        Ok(Routes::new(scoring)
            .add_service(models)
            .add_service(inference)
            .add_service(self.around.health.server())
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .prepare())
    }
}

/// Lets a request pass whose caller may call its method.
fn with_credential(
    credentials: &Arc<Credentials>,
    mut request: Request<Body>,
) -> Result<Request<Body>, Status> {
    let peer = request.extensions().get::<Peer>();
    let caller = Caller {
        method: request.uri().path(),
        address: peer.map(|peer| peer.address.ip()),
        headers: request.headers(),
    };
    credentials.check(&caller)?;
    if caller.method == SCORE_STREAM {
        let standing = Standing::new(Arc::clone(credentials), &caller);
        request.extensions_mut().insert(standing);
    }
    Ok(request)
}

/// Lets a request pass unless it is a clip that no model could answer in time.
///
/// Under overload a clip costs its caller's upload, the server's copies and a decoding before the
/// queue finds that nobody will hear the answer, and those who can be answered pay for it. The
/// deadline comes with the headers, so a caller can be told at once. Which model it asks for stands
/// in the message, so it is counted as the default's.
fn in_time(registry: &Registry, request: Request<Body>) -> Result<Request<Body>, Status> {
    let extensions = request.extensions();
    let deadline = extensions.get::<Deadline>().map(|deadline| deadline.0);
    if request.uri().path() != SCORE_CLIP || !registry.is_too_late(caller_of(extensions), deadline)
    {
        return Ok(request);
    }
    let Ok(model) = registry.find(None) else { return Ok(request) };
    if let Some(asked) = extensions.get::<AskedModel>() {
        asked.set(&model.slot().name);
    }
    Err(model.intake().too_late().into())
}
