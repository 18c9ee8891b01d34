//! Which service answers which path, and what every request passes on its way there.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use protoguard_proto::FILE_DESCRIPTOR_SET;
use protoguard_proto::v1::model_service_server::ModelServiceServer;
use protoguard_proto::v1::scoring_service_server::ScoringServiceServer;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic_reflection::pb as reflection_pb;
use tower::ServiceBuilder;

use crate::metrics::RequestMetricsLayer;
use crate::registry::model::Surroundings;
use crate::registry::models::Registry;
use crate::registry::reload::Reloader;
use crate::rpc::model_service::Models;
use crate::rpc::scoring_service::Scoring;
use crate::rpc::tonic_errors::TonicErrorsLayer;
use crate::serve_error::ServeError;
use crate::transport::byte_budget::ByteBudget;
use crate::transport::connections::Answers;
use crate::transport::credentials::Credentials;
use crate::transport::deadline::DeadlineLayer;
use crate::transport::gate::GateLayer;
use crate::transport::receiving::ReceivingLayer;

const GZIP: CompressionEncoding = CompressionEncoding::Gzip;
const ZSTD: CompressionEncoding = CompressionEncoding::Zstd;

/// What the services answer from.
pub(crate) struct Routing {
    pub(crate) registry: Arc<Registry>,
    pub(crate) reloader: Reloader,
    pub(crate) around: Surroundings,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) draining: Arc<AtomicBool>,
}

impl Routing {
    /// The whole way of a request: its deadline is noticed, its end is counted, its credential is
    /// checked, it is refused where it would be too late, its message is bounded in time, size and
    /// company, its method answers.
    pub(crate) fn service(self) -> Result<impl Answers, ServeError> {
        let config = &self.around.config;
        let max_message_bytes = config.max_message_bytes;
        Ok(ServiceBuilder::new()
            .layer(DeadlineLayer)
            .layer(RequestMetricsLayer { metrics: self.around.metrics.clone() })
            .layer(GateLayer(Arc::clone(&self.credentials)))
            .layer(GateLayer(Arc::clone(&self.registry)))
            .layer(TonicErrorsLayer { max_message_bytes })
            .layer(ReceivingLayer {
                timeout: config.connections.receive_timeout,
                max_message_bytes,
                budget: ByteBudget::new(config.connections.max_receiving_bytes),
            })
            .service(self.routes()?))
    }

    fn routes(self) -> Result<Routes, ServeError> {
        let limit = self.around.config.max_message_bytes;
        let scoring = Scoring {
            registry: Arc::clone(&self.registry),
            config: Arc::clone(&self.around.config),
            draining: self.draining,
            traces: self.around.traces.clone(),
        };
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
        let unreadable = |error: tonic_reflection::server::Error| ServeError::Reflection {
            reason: error.to_string(),
        };
        // The limit holds for a message as it is after decompression. Answers are compressed for
        // callers that accept it.
        let scoring = ScoringServiceServer::new(scoring)
            .max_decoding_message_size(limit)
            .accept_compressed(GZIP)
            .accept_compressed(ZSTD)
            .send_compressed(ZSTD)
            .send_compressed(GZIP);
        let models = ModelServiceServer::new(models).max_decoding_message_size(limit);
        Ok(Routes::new(scoring)
            .add_service(models)
            .add_service(self.around.health.server())
            .add_service(reflection().build_v1().map_err(unreadable)?)
            .add_service(reflection().build_v1alpha().map_err(unreadable)?)
            .prepare())
    }
}
