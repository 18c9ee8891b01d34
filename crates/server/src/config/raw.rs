use std::collections::{BTreeMap, HashMap};

use config::builder::DefaultState;
use config::{ConfigBuilder, Environment, File, FileFormat};
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::flags::Flags;

/// Prefix of environment variables. Two underscores follow it, because Kubernetes sets variables
/// such as `PROTOGUARD_SERVER_PORT` for a Service of that name.
const ENVIRONMENT_PREFIX: &str = "PROTOGUARD_SERVER";

/// The configuration as it is written, in a file, the environment or flags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawConfig {
    /// Address and port; port 0 takes a free one, which the first line of output names.
    pub(crate) listen: String,
    /// Address and port for Prometheus and HTTP probes: `/metrics`, `/healthz`, `/readyz`; empty for
    /// none. It asks for no credential.
    pub(crate) metrics_listen: String,
    /// Short form of `models`, each `PATH` or `NAME=PATH`; replaces it where it is not empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) model: Vec<String>,
    /// Folder of checkpoints beside those of `models`: `NAME.safetensors`, or
    /// `NAME/VERSION.safetensors` for several versions of a name, the last of which answers
    /// requests that name none. What changes here is loaded while the server answers. Hidden
    /// entries, files of other kinds and folders that the server may not read are passed over.
    pub(crate) models_folder: String,
    /// Model that answers requests that name none, as `name`, `name@version` or an alias; empty
    /// for the first.
    pub(crate) default_model: String,
    /// `cpu`, or `cuda:0` and so on.
    pub(crate) devices: Vec<String>,
    /// Replicas a device, each with its own thread.
    pub(crate) workers_per_device: usize,
    /// Threads of a forward pass on the CPU; 0 shares the cores evenly among the CPU's workers.
    pub(crate) threads_per_worker: usize,
    /// Folder with `libtorch_cuda.so`; only cuda devices need it.
    pub(crate) libtorch: String,
    /// `f32`, `bf16`, `int8`, or `auto` for bf16 where the device is faster in it and the
    /// checkpoint proves itself in it. A processor needs AVX-512 for bf16.
    pub(crate) precision: String,
    /// Clips of a forward pass, at most: what the device's memory holds.
    pub(crate) max_batch_size: usize,
    /// Whether powers of two up to it are timed at the start, and batches kept to the size whose
    /// clips cost the least.
    pub(crate) fit_batch_size: bool,
    /// Clips of a model between admission and answer; more are refused as RESOURCE_EXHAUSTED.
    pub(crate) max_queue_clips: usize,
    /// The same bound in bytes of requests and of decoded clips.
    pub(crate) max_queue_bytes: usize,
    /// A larger request is refused before it is read in full.
    pub(crate) max_message_bytes: usize,
    /// Bytes of all requests that are being received and not yet admitted; more are refused as
    /// RESOURCE_EXHAUSTED. A lone request is always received.
    pub(crate) max_receiving_bytes: usize,
    /// Encoded bytes of a frame.
    pub(crate) max_frame_bytes: usize,
    /// Height and width of a frame in pixels, each.
    pub(crate) max_frame_side: usize,
    /// Height times width of a frame in pixels.
    pub(crate) max_frame_pixels: usize,
    /// Connections that may be open; more are closed at once.
    pub(crate) max_connections: usize,
    /// Age at which a connection is told to go away, so that callers spread over new replicas; 0
    /// for never.
    pub(crate) max_connection_age_ms: u64,
    /// Certificate chain in PEM; with `tls_key` it encrypts connections. Read again when it
    /// changes, as every file of keys and tokens.
    pub(crate) tls_certificate: String,
    /// Private key of the certificate in PEM.
    pub(crate) tls_key: String,
    /// Authorities in PEM; with them every caller needs a certificate of theirs.
    pub(crate) tls_client_ca: String,
    /// Bearer tokens of callers, one a line; empty asks for none. Health asks for none ever.
    pub(crate) token_file: String,
    /// Bearer tokens of administrators, who may reload models; empty for callers from this
    /// machine.
    pub(crate) admin_token_file: String,
    /// A forward pass that takes longer hangs: health turns to NOT_SERVING; 0 for no watchdog.
    pub(crate) watchdog_ms: u64,
    /// Share of normal frames that may be called anomalous, in (0, 1); for a model whose
    /// calibration has no detector one of those that it has thresholds for, 0.01 or 0.05.
    pub(crate) false_alarm_rate: f64,
    /// Between NOT_SERVING and the end of accepting, for load balancers to look away.
    pub(crate) drain_grace_ms: u64,
    /// For work in flight after that; keep the sum below the supervisor's patience.
    pub(crate) drain_timeout_ms: u64,
    /// `human` or `json`.
    pub(crate) log_format: String,
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as
    /// `protoguard_service=debug,info`.
    pub(crate) log_level: String,
    /// Collector that takes traces by OTLP over gRPC, such as `http://127.0.0.1:4317`; empty for
    /// none. A caller's `traceparent` makes its request a part of its trace.
    pub(crate) otlp_endpoint: String,
    /// Names that stand for a `name` or a `name@version`.
    pub(crate) aliases: BTreeMap<String, String>,
    /// The models to serve.
    pub(crate) models: Vec<RawModel>,
}

/// An entry of `[[models]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawModel {
    /// What requests call it; the stem of its file where empty.
    #[serde(default)]
    pub(crate) name: String,
    /// Its checkpoint.
    pub(crate) path: String,
}

impl Default for RawConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:50051".to_owned(),
            metrics_listen: String::new(),
            model: Vec::new(),
            models_folder: String::new(),
            default_model: String::new(),
            devices: vec!["cpu".to_owned()],
            workers_per_device: 1,
            threads_per_worker: 0,
            libtorch: String::new(),
            precision: "auto".to_owned(),
            max_batch_size: 8,
            fit_batch_size: true,
            max_queue_clips: 256,
            max_queue_bytes: 512 << 20,
            max_message_bytes: 64 << 20,
            max_receiving_bytes: 256 << 20,
            max_frame_bytes: 32 << 20,
            max_frame_side: 8192,
            max_frame_pixels: 40_000_000,
            max_connections: 4096,
            max_connection_age_ms: 0,
            tls_certificate: String::new(),
            tls_key: String::new(),
            tls_client_ca: String::new(),
            token_file: String::new(),
            admin_token_file: String::new(),
            watchdog_ms: 60_000,
            false_alarm_rate: 0.01,
            drain_grace_ms: 0,
            drain_timeout_ms: 20_000,
            log_format: "human".to_owned(),
            log_level: "info".to_owned(),
            otlp_endpoint: String::new(),
            aliases: BTreeMap::new(),
            models: Vec::new(),
        }
    }
}

impl RawConfig {
    /// All layers together. `environment` stands in for the process's own, for tests.
    ///
    /// # Errors
    /// When the file cannot be read, or a layer has an unknown key or a value of a wrong type.
    pub(crate) fn load(
        flags: &Flags,
        environment: Option<HashMap<String, String>>,
    ) -> Result<Self, ConfigError> {
        let mut layers = config::Config::builder();
        if let Some(path) = &flags.config {
            layers = layers.add_source(File::from(path.clone()).format(FileFormat::Toml));
        }
        let environment = Environment::with_prefix(ENVIRONMENT_PREFIX)
            .prefix_separator("__")
            .try_parsing(true)
            .list_separator(",")
            .with_list_parse_key("devices")
            .with_list_parse_key("model")
            .source(environment.map(|variables| variables.into_iter().collect()));
        let layers = flag_layer(layers.add_source(environment), flags)?;
        let mut raw: Self = layers.build()?.try_deserialize()?;
        raw.expand_short_form();
        Ok(raw)
    }

    /// The effective configuration, which is itself a configuration file.
    ///
    /// # Errors
    /// When a number does not fit TOML.
    pub(crate) fn to_toml(&self) -> Result<String, ConfigError> {
        Ok(toml::to_string(self)?)
    }

    fn expand_short_form(&mut self) {
        if self.model.is_empty() {
            return;
        }
        self.models = std::mem::take(&mut self.model)
            .into_iter()
            .map(|text| match text.split_once('=') {
                Some((name, path)) => RawModel { name: name.to_owned(), path: path.to_owned() },
                None => RawModel { name: String::new(), path: text },
            })
            .collect();
    }
}

fn flag_layer(
    layers: ConfigBuilder<DefaultState>,
    flags: &Flags,
) -> Result<ConfigBuilder<DefaultState>, ConfigError> {
    let list = |values: &[String]| (!values.is_empty()).then(|| values.to_vec());
    Ok(layers
        .set_override_option("listen", flags.listen.clone())?
        .set_override_option("model", list(&flags.model))?
        .set_override_option("default_model", flags.default_model.clone())?
        .set_override_option("models_folder", flags.models_folder.clone())?
        .set_override_option("metrics_listen", flags.metrics_listen.clone())?
        .set_override_option("max_connections", flags.max_connections)?
        .set_override_option("max_connection_age_ms", flags.max_connection_age_ms)?
        .set_override_option("tls_certificate", flags.tls_certificate.clone())?
        .set_override_option("tls_key", flags.tls_key.clone())?
        .set_override_option("tls_client_ca", flags.tls_client_ca.clone())?
        .set_override_option("token_file", flags.token_file.clone())?
        .set_override_option("admin_token_file", flags.admin_token_file.clone())?
        .set_override_option("watchdog_ms", flags.watchdog_ms)?
        .set_override_option("otlp_endpoint", flags.otlp_endpoint.clone())?
        .set_override_option("devices", list(&flags.devices))?
        .set_override_option("workers_per_device", flags.workers_per_device)?
        .set_override_option("threads_per_worker", flags.threads_per_worker)?
        .set_override_option("libtorch", flags.libtorch.clone())?
        .set_override_option("precision", flags.precision.clone())?
        .set_override_option("max_batch_size", flags.max_batch_size)?
        .set_override_option("fit_batch_size", flags.fit_batch_size)?
        .set_override_option("max_queue_clips", flags.max_queue_clips)?
        .set_override_option("max_queue_bytes", flags.max_queue_bytes)?
        .set_override_option("max_message_bytes", flags.max_message_bytes)?
        .set_override_option("max_receiving_bytes", flags.max_receiving_bytes)?
        .set_override_option("false_alarm_rate", flags.false_alarm_rate)?
        .set_override_option("drain_grace_ms", flags.drain_grace_ms)?
        .set_override_option("drain_timeout_ms", flags.drain_timeout_ms)?
        .set_override_option("log_format", flags.log_format.clone())?
        .set_override_option("log_level", flags.log_level.clone())?)
}

#[cfg(test)]
mod tests;
