//! What the service may be told.

use std::collections::BTreeMap;
use std::time::Duration;

use protoguard_frames::DecodeLimits;

use crate::queue::admission::AdmissionLimits;
use crate::queue::dispatcher::BatchPolicy;
use crate::transport::credentials::files::CredentialFiles;
use crate::transport::limits::ConnectionConfig;

/// What the service may be told, validated by whoever reads it from a file.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceConfig {
    /// Answers requests that name no model, as `name`, `name@version` or an alias; empty for the
    /// first there is.
    pub default_model: String,
    /// Names that stand for `name` or `name@version`.
    pub aliases: BTreeMap<String, String>,
    /// How many clips a forward pass may have.
    pub batch: BatchPolicy,
    /// What one model may hold between admission and answer.
    pub admission: AdmissionLimits,
    /// A larger request is refused before it is read in full.
    pub max_message_bytes: usize,
    /// What a frame may cost to decode.
    pub decode: DecodeLimits,
    /// Share of normal frames that may be called anomalous, in (0, 1): what decides on a clip.
    pub false_alarm_rate: f64,
    /// How the service stops.
    pub drain: DrainConfig,
    /// Batches that every replica computes before its model counts as ready: the first forward of
    /// a size is the slow one.
    pub warm_up_batch_sizes: Vec<usize>,
    /// Whether the size of these whose clips cost the least limits the batches of requests.
    pub fit_batch_size: bool,
    /// A forward pass that takes longer hangs: health says so. Nothing watches where absent.
    pub watchdog: Option<Duration>,
    /// How often models and credentials are looked at for changes.
    pub look_interval: Duration,
    /// Who may speak to the server.
    pub credentials: CredentialFiles,
    /// How many connections there may be, and how long they may take.
    pub connections: ConnectionConfig,
    /// How many streams there may be, and how old they may become.
    pub streams: StreamConfig,
}

/// Bounds on streams.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StreamConfig {
    /// More are refused. Each holds the frames of a window.
    pub max_streams: usize,
    /// A stream ends at about this age with a token for the next, so that cameras spread over new
    /// replicas.
    pub max_age: Option<Duration>,
    /// How often in an hour normal video may raise a stream's alarm where its caller does not say,
    /// above 0.
    pub false_alarms_an_hour: f64,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            max_streams: 1024,
            max_age: Some(Duration::from_secs(24 * 3600)),
            false_alarms_an_hour: 1.0,
        }
    }
}

/// How the service stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainConfig {
    /// Time between NOT_SERVING and the end of accepting: load balancers need it to look away.
    pub grace: Duration,
    /// Time for work in flight after that; what is left then is answered UNAVAILABLE.
    pub timeout: Duration,
}

impl ServiceConfig {
    /// The defaults, for one model.
    pub fn new(default_model: impl Into<String>) -> Self {
        let batch = BatchPolicy { max_batch_size: 8 };
        Self {
            default_model: default_model.into(),
            aliases: BTreeMap::new(),
            watchdog: Some(Duration::from_secs(60)),
            look_interval: Duration::from_secs(1),
            credentials: CredentialFiles::default(),
            connections: ConnectionConfig::default(),
            streams: StreamConfig::default(),
            admission: AdmissionLimits { max_clips: 256, max_bytes: 512 << 20 },
            max_message_bytes: 64 << 20,
            decode: DecodeLimits::default(),
            false_alarm_rate: 0.01,
            drain: DrainConfig { grace: Duration::from_secs(0), timeout: Duration::from_secs(20) },
            warm_up_batch_sizes: vec![1, batch.max_batch_size],
            fit_batch_size: false,
            batch,
        }
    }
}
