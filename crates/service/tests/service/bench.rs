//! A served service and clients of it.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use protoguard_core::{ScorerError, ScorerInput};
use protoguard_proto::v1;
use protoguard_proto::v1::model_service_client::ModelServiceClient;
use protoguard_proto::v1::score_clip_request::Clip;
use protoguard_proto::v1::scoring_service_client::ScoringServiceClient;
use protoguard_service::testing::FakeFactory;
use protoguard_service::{
    FileStamp, FoundModel, Metrics, ModelSource, ModelSpec, Prepared, Reloader, ServeError,
    Service, ServiceConfig, Slot, SourceError, Traces,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic_health::pb::health_client::HealthClient;

/// Longer than anything here takes, so that a hang fails a test and a slow machine does not.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A client without timers of its own, so that what it sees of a deadline is the server's word.
pub(crate) type PlainClient = ScoringServiceClient<Client<HttpConnector, Body>>;

/// A service on a free port of the loopback.
pub(crate) struct Served {
    pub(crate) address: String,
    pub(crate) metrics: Metrics,
    pub(crate) reloader: Reloader,
    /// `host:port` of the probes.
    pub(crate) probes: String,
    pub(crate) shutdown: CancellationToken,
    pub(crate) ended: JoinHandle<Result<(), ServeError>>,
    pub(crate) ready: JoinHandle<bool>,
}

/// The defaults, without warm-up, so that a test's hook sees the test's clips only, and without
/// looks at files that the test does not ask for.
pub(crate) fn config() -> ServiceConfig {
    ServiceConfig {
        warm_up_batch_sizes: Vec::new(),
        look_interval: Duration::from_secs(3600),
        ..ServiceConfig::new("hall")
    }
}

/// The place of a model without versions.
pub(crate) fn slot(name: &str) -> Slot {
    Slot { name: name.to_owned(), label: None }
}

impl Served {
    pub(crate) async fn start(models: Vec<ModelSpec>, config: ServiceConfig) -> Self {
        Self::open(Shelf::of(models), config).await
    }

    pub(crate) async fn open(source: Arc<dyn ModelSource>, config: ServiceConfig) -> Self {
        let metrics = Metrics::default();
        let prepared = Service::prepare(config, metrics.clone()).await;
        Self::open_prepared(source, prepared, metrics).await
    }

    /// A service whose spans somebody collects.
    pub(crate) async fn traced(factory: FakeFactory, traces: Arc<dyn Traces>) -> Self {
        let metrics = Metrics::default();
        let prepared = Service::prepare(config(), metrics.clone()).await.with_traces(traces);
        let models = Shelf::of(vec![factory.spec(1)]);
        let mut served = Self::open_prepared(models, prepared, metrics).await;
        assert!(bounded(&mut served.ready).await.unwrap());
        served
    }

    async fn open_prepared(
        source: Arc<dyn ModelSource>,
        prepared: Prepared,
        metrics: Metrics,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let probes = http.local_addr().unwrap().to_string();
        let answering = prepared.probes().serve(http);
        let service = Service::open(source, prepared).await.unwrap();
        let ready = tokio::spawn(service.ready());
        let reloader = service.reloader();
        let stop = shutdown.clone().cancelled_owned();
        let ended = tokio::spawn(async move {
            tokio::select! {
                ended = service.serve(listener, stop) => ended,
                never = answering => match never {},
            }
        });
        Self { address, metrics, reloader, probes, shutdown, ended, ready }
    }

    /// What the probes' port answers: the code and the text.
    pub(crate) async fn probe(&self, path: &str) -> Probed {
        let mut stream = TcpStream::connect(&self.probes).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        bounded(stream.read_to_string(&mut answer)).await.unwrap();
        let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let text = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
        Probed { code, text }
    }

    /// The value of a line of the metrics, 0 where there is none.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let page = self.metrics.page();
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// A service of one model, once it is ready.
    pub(crate) async fn ready(factory: FakeFactory, config: ServiceConfig) -> Self {
        let mut served = Self::start(vec![factory.spec(1)], config).await;
        assert!(bounded(&mut served.ready).await.unwrap());
        served
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(self.address.clone()).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn scoring(&self) -> ScoringServiceClient<Channel> {
        ScoringServiceClient::new(self.channel().await).max_decoding_message_size(64 << 20)
    }

    pub(crate) async fn models(&self) -> ModelServiceClient<Channel> {
        ModelServiceClient::new(self.channel().await)
    }

    pub(crate) async fn health(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel().await)
    }

    pub(crate) fn plain(&self) -> PlainClient {
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        ScoringServiceClient::with_origin(client, self.address.parse().unwrap())
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        bounded(self.ended).await.unwrap().unwrap();
    }
}

/// An answer of the probes' port.
#[derive(Debug)]
pub(crate) struct Probed {
    pub(crate) code: u16,
    pub(crate) text: String,
}

/// A source of models that a test changes while they are served.
#[derive(Default)]
pub(crate) struct Shelf(Mutex<Shelved>);

#[derive(Default)]
struct Shelved {
    models: Vec<Shelving>,
    /// Every change is another stamp.
    changes: u64,
    /// The whole source cannot be read.
    gone: bool,
}

#[derive(Clone)]
struct Shelving {
    found: FoundModel,
    model: Result<ModelSpec, SourceError>,
}

impl Shelf {
    pub(crate) fn of(models: Vec<ModelSpec>) -> Arc<Self> {
        let shelf = Arc::new(Self::default());
        for spec in models {
            let name = spec.replicas[0].card().name.clone();
            shelf.add(Slot { name, label: None }, Ok(spec));
        }
        shelf
    }

    /// Puts a model beside those that are there.
    pub(crate) fn add(&self, slot: Slot, model: Result<ModelSpec, SourceError>) {
        let mut shelf = self.0.lock().unwrap();
        shelf.changes += 1;
        let stamp = FileStamp::number(shelf.changes);
        shelf.models.push(Shelving { found: FoundModel { slot, stamp }, model });
    }

    /// Puts a model into the place of one that is there.
    pub(crate) fn put(&self, slot: &Slot, model: Result<ModelSpec, SourceError>) {
        self.remove(slot);
        self.add(slot.clone(), model);
    }

    pub(crate) fn remove(&self, slot: &Slot) {
        self.0.lock().unwrap().models.retain(|shelved| shelved.found.slot != *slot);
    }

    pub(crate) fn vanish(&self, gone: bool) {
        self.0.lock().unwrap().gone = gone;
    }
}

impl ModelSource for Shelf {
    fn scan(&self) -> Result<Vec<FoundModel>, SourceError> {
        let shelf = self.0.lock().unwrap();
        if shelf.gone {
            return Err(SourceError { reason: "the folder is gone".to_owned() });
        }
        Ok(shelf.models.iter().map(|shelved| shelved.found.clone()).collect())
    }

    fn load(&self, slot: &Slot) -> Result<ModelSpec, SourceError> {
        let shelf = self.0.lock().unwrap();
        let found = shelf.models.iter().find(|shelved| shelved.found.slot == *slot);
        found.unwrap().model.clone()
    }
}

/// Fails the test instead of hanging.
pub(crate) async fn bounded<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it ends in time")
}

/// A clip of `frames` gray frames of 16 × 16 pixels: all of `value`, the last brighter by 10.
pub(crate) fn clip_of(value: u8, frames: u32) -> v1::ScoreClipRequest {
    let mut data = vec![value; frames as usize * 256];
    let target = data.len() - 256;
    data[target..].fill(value.saturating_add(10));
    v1::ScoreClipRequest {
        clip: Some(Clip::RawFrames(v1::RawFrames {
            data: data.into(),
            height: 16,
            width: 16,
            count: frames,
            pixel_format: v1::PixelFormat::GrayU8 as i32,
        })),
        ..v1::ScoreClipRequest::default()
    }
}

pub(crate) fn clip(value: u8) -> v1::ScoreClipRequest {
    clip_of(value, 5)
}

/// A clip that is admitted and then refused, because decoding finds NaN in it.
pub(crate) fn not_a_number() -> v1::ScoreClipRequest {
    let mut request = clip(0);
    if let Some(Clip::RawFrames(frames)) = &mut request.clip {
        frames.pixel_format = v1::PixelFormat::GrayF32 as i32;
        frames.data = [f32::NAN; 5 * 256].iter().flat_map(|value| value.to_le_bytes()).collect();
    }
    request
}

/// The value that a clip of [`clip`] was made with.
pub(crate) fn value_of(input: &ScorerInput) -> u8 {
    input.clip.frames()[0].pixels()[0]
}

/// Stops the worker before every batch: the test sees the batch and lets it go.
pub(crate) struct Gate {
    entered: tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>,
    release: mpsc::Sender<()>,
}

impl Gate {
    pub(crate) fn before(factory: FakeFactory) -> (FakeFactory, Self) {
        let (report, entered) = tokio::sync::mpsc::unbounded_channel();
        let (release, go) = mpsc::channel::<()>();
        let go = Arc::new(Mutex::new(go));
        let hook = move |batch: &[ScorerInput]| {
            // A test that has ended needs neither reports nor gates.
            let _ = report.send(batch.iter().map(value_of).collect());
            let _ = go.lock().unwrap().recv();
            Ok::<(), ScorerError>(())
        };
        (factory.on_score(hook), Self { entered, release })
    }

    /// The values of the next batch, which then waits.
    pub(crate) async fn entered(&mut self) -> Vec<u8> {
        bounded(self.entered.recv()).await.unwrap()
    }

    pub(crate) fn release(&self) {
        self.release.send(()).unwrap();
    }
}
