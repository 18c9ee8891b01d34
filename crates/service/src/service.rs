//! The life of a server: load, warm up, serve, drain.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protoguard_proto::FILE_DESCRIPTOR_SET;
use protoguard_proto::v1::model_service_server::ModelServiceServer;
use protoguard_proto::v1::scoring_service_server::ScoringServiceServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_reflection::pb as reflection_pb;
use tower::{Service as TowerService, ServiceBuilder};
use tracing::{info, warn};

use crate::connections::Connections;
use crate::deadline::DeadlineLayer;
use crate::health::Health;
use crate::message_limit::MessageLimitLayer;
use crate::model_service::Models;
use crate::registry::Registry;
use crate::scoring_service::Scoring;
use crate::{ModelSpec, ServeError, ServiceConfig};

/// Time for the last answers, and for worker threads, after everything was told to end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Models that load, warm up and then answer on a listener.
pub struct Service {
    registry: Arc<Registry>,
    config: Arc<ServiceConfig>,
    health: Health,
    /// New clips are refused from here on.
    draining: Arc<AtomicBool>,
    ready: watch::Sender<bool>,
}

/// Serves `models` on `listener` until `shutdown`, then drains; see [`Service`].
///
/// # Errors
/// As [`Service::start`] and [`Service::serve`].
pub async fn run(
    listener: TcpListener,
    models: Vec<ModelSpec>,
    config: ServiceConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    Service::start(models, config).await?.serve(listener, shutdown).await
}

impl Service {
    /// Starts the workers, which begin to build and warm up their replicas.
    ///
    /// # Errors
    /// When two models share a name, a model has no replica, the default model is none of them,
    /// or a thread cannot be started.
    pub async fn start(models: Vec<ModelSpec>, config: ServiceConfig) -> Result<Self, ServeError> {
        Ok(Self {
            registry: Arc::new(Registry::start(models, &config)?),
            config: Arc::new(config),
            health: Health::new().await,
            draining: Arc::default(),
            ready: watch::channel(false).0,
        })
    }

    /// Resolves to true once every model is warm and health says SERVING, and to false when the
    /// service ends before.
    pub fn ready(&self) -> impl Future<Output = bool> + Send + 'static {
        let mut ready = self.ready.subscribe();
        async move { ready.wait_for(|ready| *ready).await.is_ok() }
    }

    /// Answers on `listener` until `shutdown`; until the models are warm, with UNAVAILABLE.
    ///
    /// After `shutdown`: health says NOT_SERVING, the grace passes with service as before, the
    /// port closes and connections are told to go away, and work in flight finishes within the
    /// drain timeout. What is left then is answered UNAVAILABLE, and the call returns.
    ///
    /// # Errors
    /// When a model cannot be loaded, or loses its last worker; the service drains first.
    pub async fn serve(
        mut self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let connections = Connections::serve(listener, self.layered_routes()?);
        let ended = tokio::select! {
            () = shutdown => Ok(()),
            lost = self.live() => Err(lost),
        };
        self.drain(&connections, ended.is_ok()).await;
        ended
    }

    /// Warms up, then serves for ever or until a model is lost.
    async fn live(&self) -> ServeError {
        for model in self.registry.all() {
            if let Err(lost) = model.ready().await {
                return lost;
            }
        }
        self.health.set(ServingStatus::Serving).await;
        self.ready.send_replace(true);
        info!(models = self.registry.all().count(), "serving");
        let mut watches = JoinSet::new();
        for model in self.registry.all() {
            let model = Arc::clone(model);
            watches.spawn(async move { model.lost().await });
        }
        match watches.join_next().await {
            Some(Ok(lost)) => lost,
            _ => std::future::pending().await,
        }
    }

    async fn drain(&mut self, connections: &Connections, with_grace: bool) {
        let config = self.config.drain;
        self.health.set(ServingStatus::NotServing).await;
        info!(grace_ms = config.grace.as_millis(), "draining");
        if with_grace {
            tokio::time::sleep(config.grace).await;
        }
        self.draining.store(true, Ordering::Release);
        self.health.end_watches().await;
        let finished = connections.drain(config.timeout).await;
        let mut threads_ended = true;
        for model in self.registry.all() {
            threads_ended &= model.close(LAST_WORDS).await;
        }
        if !finished {
            warn!(timeout_ms = config.timeout.as_millis(), "drain timed out");
            connections.drain(LAST_WORDS).await;
            connections.abort().await;
        }
        info!(finished, threads_ended, "drained");
    }

    fn layered_routes(
        &self,
    ) -> Result<
        impl TowerService<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
        ServeError,
    > {
        let max_message_bytes = self.config.max_message_bytes;
        Ok(ServiceBuilder::new()
            .layer(DeadlineLayer)
            .layer(MessageLimitLayer { max_message_bytes })
            .service(self.routes()?))
    }

    fn routes(&self) -> Result<Routes, ServeError> {
        let limit = self.config.max_message_bytes;
        let scoring = Scoring {
            registry: Arc::clone(&self.registry),
            config: Arc::clone(&self.config),
            draining: Arc::clone(&self.draining),
        };
        let models = Models { registry: Arc::clone(&self.registry) };
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
        Ok(Routes::new(ScoringServiceServer::new(scoring).max_decoding_message_size(limit))
            .add_service(ModelServiceServer::new(models).max_decoding_message_size(limit))
            .add_service(self.health.server())
            .add_service(reflection().build_v1().map_err(unreadable)?)
            .add_service(reflection().build_v1alpha().map_err(unreadable)?)
            .prepare())
    }
}
