//! The life of a server: load, warm up, serve, drain.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use protoguard_proto::ModelRef;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::ServiceConfig;
use crate::health::{Health, Phase};
use crate::metrics::Metrics;
use crate::registry::error::ModelError;
use crate::registry::model::{Model, Surroundings};
use crate::registry::models::{Names, Registry};
use crate::registry::reload::Reloader;
use crate::registry::source::{FixedSource, FoundModel, ModelSource, ModelSpec, SourceError};
use crate::rpc::routes::Routing;
use crate::serve_error::ServeError;
use crate::transport::connection::Serving;
use crate::transport::connections::Connections;
use crate::transport::credentials::Credentials;
use crate::transport::probes::Probes;
use crate::transport::trace_context::Traces;

/// Time for the last answers, and for worker threads, after everything was told to end.
const END_TIMEOUT: Duration = Duration::from_millis(500);

/// Models that load, warm up and then answer on a listener.
pub struct Service {
    registry: Arc<Registry>,
    reloader: Reloader,
    around: Surroundings,
    traces: Option<Arc<dyn Traces>>,
    credentials: Arc<Credentials>,
    /// Cancelled when new clips are refused and streams end.
    draining: CancellationToken,
    ready: watch::Sender<bool>,
    lost: mpsc::UnboundedReceiver<ModelError>,
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
    /// A service of models that are at hand and never change, which nobody watches.
    ///
    /// # Errors
    /// As [`Service::open`].
    pub async fn start(models: Vec<ModelSpec>, config: ServiceConfig) -> Result<Self, ServeError> {
        let prepared = Self::prepare(config, Metrics::default()).await;
        Self::open(Arc::new(FixedSource(models)), prepared).await
    }

    /// What probes can be answered from before any model is read.
    pub async fn prepare(config: ServiceConfig, metrics: Metrics) -> Prepared {
        let health = Health::new().await;
        let config = Arc::new(config);
        let around = Surroundings { config, metrics, health, turns: Arc::default() };
        Prepared { around, traces: None }
    }

    /// Reads every model of a source and starts its workers, which begin to build and warm up their
    /// replicas.
    ///
    /// # Errors
    /// When a credential or a model cannot be read, two models share a place, a model has no
    /// replica, the default or an alias stands for none of them, or a thread cannot be started.
    pub async fn open(
        source: Arc<dyn ModelSource>,
        prepared: Prepared,
    ) -> Result<Self, ServeError> {
        let Prepared { around, traces } = prepared;
        let credentials = Arc::new(Credentials::open(&around.config.credentials)?);
        let loaded = load(Arc::clone(&source)).await?;
        let found: Vec<FoundModel> = loaded.iter().map(|loaded| loaded.found.clone()).collect();
        let names = names(&around.config, &found)?;
        let start = |loaded: Loaded| Model::start(loaded.found.slot, loaded.spec, &around);
        let models = loaded.into_iter().map(start).collect::<Result<_, ModelError>>()?;
        let registry = Arc::new(Registry::new(models, names)?);
        let (told, lost) = mpsc::unbounded_channel();
        let reloader = Reloader::new(source, Arc::clone(&registry), around.clone(), told);
        reloader.started_with(&found).await;
        let draining = CancellationToken::new();
        let ready = watch::Sender::new(false);
        Ok(Self { registry, reloader, around, traces, credentials, draining, ready, lost })
    }

    /// Resolves to true once every model is warm and health says SERVING, and to false when the
    /// service ends before.
    pub fn ready(&self) -> impl Future<Output = bool> + Send + 'static {
        let mut ready = self.ready.subscribe();
        async move { ready.wait_for(|ready| *ready).await.is_ok() }
    }

    /// Puts models in each other's place while the service answers.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Answers on `listener` until `shutdown`; until the models are warm, with UNAVAILABLE.
    ///
    /// After `shutdown`: health says NOT_SERVING, the grace passes with service as before, the
    /// port closes and connections are told to go away, and work in flight finishes within the
    /// drain timeout. What is left then is answered UNAVAILABLE, and the call returns.
    ///
    /// # Errors
    /// When a model cannot be built, or loses a worker for good; the service drains first.
    pub async fn serve(
        mut self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let service = Routing {
            registry: Arc::clone(&self.registry),
            reloader: self.reloader.clone(),
            around: self.around.clone(),
            credentials: Arc::clone(&self.credentials),
            draining: self.draining.clone(),
            traces: self.traces.clone(),
        }
        .service()
        .map_err(|error| ServeError::Reflection { reason: error.to_string() })?;
        let config = self.around.config.connections;
        let credentials = Arc::clone(&self.credentials);
        let connections = Connections::serve(listener, Serving { service, config, credentials });
        let watchers = self.watch_files();
        let ended = tokio::select! {
            () = shutdown => Ok(()),
            lost = self.live() => Err(lost.into()),
        };
        drop(watchers);
        self.drain(&connections, ended.is_ok()).await;
        ended
    }

    /// Looks after files that may change, until dropped.
    fn watch_files(&self) -> JoinSet<()> {
        let mut watchers = JoinSet::new();
        let interval = self.around.config.look_interval;
        let reloader = self.reloader.clone();
        let mut ready = self.ready.subscribe();
        watchers.spawn(async move {
            // Before, the models that were read are still being built.
            if ready.wait_for(|ready| *ready).await.is_ok() {
                reloader.watch(interval).await;
            }
        });
        if !self.credentials.are_none() {
            let credentials = Arc::clone(&self.credentials);
            watchers.spawn(async move {
                loop {
                    tokio::time::sleep(interval).await;
                    let credentials = Arc::clone(&credentials);
                    // A panic in there leaves the last credentials in force.
                    let _ = tokio::task::spawn_blocking(move || credentials.refresh()).await;
                }
            });
        }
        watchers
    }

    /// Warms up, then serves for ever or until a model is lost.
    async fn live(&mut self) -> ModelError {
        let models = self.registry.all();
        for model in &models {
            if let Err(lost) = model.ready().await {
                return lost;
            }
        }
        self.around.health.change(|condition| condition.phase = Phase::Serving).await;
        self.ready.send_replace(true);
        info!(models = models.len(), "serving");
        models.iter().for_each(|model| self.reloader.watch_loss(model));
        drop(models);
        match self.lost.recv().await {
            Some(lost) => lost,
            None => std::future::pending().await,
        }
    }

    async fn drain(&mut self, connections: &Connections, with_grace: bool) {
        let config = self.around.config.drain;
        let health = &self.around.health;
        let phase = if with_grace { Phase::Draining } else { Phase::Failed };
        health.change(|condition| condition.phase = phase).await;
        info!(grace_ms = config.grace.as_millis(), "draining");
        if with_grace {
            tokio::time::sleep(config.grace).await;
        }
        self.draining.cancel();
        health.end_watches().await;
        let finished = connections.drain(config.timeout).await;
        let threads_ended = self.registry.close(END_TIMEOUT).await;
        if !finished {
            warn!(timeout_ms = config.timeout.as_millis(), "drain timed out");
            connections.drain(END_TIMEOUT).await;
            connections.abort().await;
        }
        info!(finished, threads_ended, "drained");
    }
}

/// A service whose models are not read yet.
pub struct Prepared {
    around: Surroundings,
    /// Nobody collects spans where absent.
    traces: Option<Arc<dyn Traces>>,
}

impl Prepared {
    /// Requests become parts of their callers' traces.
    #[must_use]
    pub fn with_traces(mut self, traces: Arc<dyn Traces>) -> Self {
        self.traces = Some(traces);
        self
    }

    /// What the probes' port answers, from here to the end of the service.
    pub fn probes(&self) -> Probes {
        Probes { metrics: self.around.metrics.clone(), condition: self.around.health.condition() }
    }
}

/// A model as a source gave it.
struct Loaded {
    found: FoundModel,
    spec: ModelSpec,
}

/// Reads every model, on a thread that may block.
async fn load(source: Arc<dyn ModelSource>) -> Result<Vec<Loaded>, ServeError> {
    let load = move || {
        let mut slots = BTreeSet::new();
        let mut loaded = Vec::new();
        for found in source.scan()? {
            if !slots.insert(found.slot.clone()) {
                return Err(ServeError::DuplicateModel { name: found.slot.to_string() });
            }
            let spec = source.load(&found.slot)?;
            loaded.push(Loaded { found, spec });
        }
        Ok(loaded)
    };
    let panicked = |_| SourceError { reason: "reading the models panicked".to_owned() };
    tokio::task::spawn_blocking(load).await.map_err(panicked)?
}

/// The configured names, read.
fn names(config: &ServiceConfig, found: &[FoundModel]) -> Result<Names, ServeError> {
    let parse = |key: &'static str, text: &str| {
        ModelRef::parse(text).ok_or_else(|| ServeError::ModelName { key, found: text.to_owned() })
    };
    let aliases = config
        .aliases
        .iter()
        .map(|(alias, target)| Ok::<_, ServeError>((alias.clone(), parse("aliases", target)?)));
    let first = found.iter().map(|found| found.slot.name.as_str()).min().unwrap_or_default();
    let default_model = match config.default_model.as_str() {
        "" => parse("models", first)?,
        name => parse("default_model", name)?,
    };
    Ok(Names { aliases: aliases.collect::<Result<_, _>>()?, default_model })
}
