use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use protoguard_checkpoint::Precision;
use protoguard_model::DeviceSpec;
use protoguard_service::{AdmissionLimits, BatchPolicy, DecodeLimits, DrainConfig, ServiceConfig};
use tracing_subscriber::EnvFilter;

use super::ConfigError;
use super::edges::{connections, credentials};
use super::names::{aliases, default_model, models};
use super::raw::RawConfig;

/// How often files are looked at for changes.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A configuration that was checked.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) metrics_listen: Option<SocketAddr>,
    pub(crate) models: Vec<ModelFile>,
    pub(crate) models_folder: Option<PathBuf>,
    pub(crate) worker: WorkerConfig,
    pub(crate) service: ServiceConfig,
    pub(crate) log: LogConfig,
}

/// A checkpoint and the name that requests use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelFile {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// Where replicas run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkerConfig {
    /// One entry a worker.
    pub(crate) devices: Vec<DeviceSpec>,
    pub(crate) threads_per_worker: usize,
    pub(crate) libtorch: Option<PathBuf>,
    pub(crate) precision: Precision,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogConfig {
    pub(crate) format: LogFormat,
    /// Directives that were parsed once already.
    pub(crate) level: String,
    pub(crate) otlp_endpoint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Human,
    Json,
}

impl TryFrom<&RawConfig> for Config {
    type Error = ConfigError;

    fn try_from(raw: &RawConfig) -> Result<Self, ConfigError> {
        let models = models(raw)?;
        let default_model = default_model(raw, &models)?;
        let metrics_listen = given(&raw.metrics_listen);
        Ok(Self {
            listen: address("listen", &raw.listen)?,
            metrics_listen: metrics_listen
                .map(|text| address("metrics_listen", text))
                .transpose()?,
            models,
            models_folder: given(&raw.models_folder).map(PathBuf::from),
            worker: worker(raw)?,
            service: service(raw, default_model)?,
            log: log(raw)?,
        })
    }
}

/// A value that is empty where it is absent.
pub(super) fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// A duration that is 0 where it is absent.
pub(super) fn given_ms(ms: u64) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_millis(ms))
}

fn address(key: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    let accepted = "an address and a port are expected, as 0.0.0.0:50051";
    text.parse().map_err(|_| wrong(key, text, accepted))
}

/// Clips of a forward pass that no device gains from going beyond.
const MOST_CLIPS: usize = 1024;
/// Replicas that no device has threads for.
const MOST_WORKERS: usize = 256;

pub(super) fn wrong(
    key: &'static str,
    found: impl ToString,
    accepted: impl Into<String>,
) -> ConfigError {
    ConfigError::Value { key, found: format!("`{}`", found.to_string()), accepted: accepted.into() }
}

fn worker(raw: &RawConfig) -> Result<WorkerConfig, ConfigError> {
    let mut devices = Vec::new();
    let workers = at_least_one("workers_per_device", raw.workers_per_device)?;
    at_most("workers_per_device", workers, MOST_WORKERS)?;
    for name in &raw.devices {
        let accepted = "cpu, or cuda:N with N from 0, is expected";
        let device: DeviceSpec = name.parse().map_err(|_| wrong("devices", name, accepted))?;
        devices.extend(std::iter::repeat_n(device, workers));
    }
    if devices.is_empty() {
        return Err(wrong("devices", "[]", "at least one is expected, such as cpu"));
    }
    let on_cpu = devices.iter().filter(|device| **device == DeviceSpec::Cpu).count();
    if on_cpu < devices.len() && raw.libtorch.is_empty() {
        let accepted = "the folder with libtorch_cuda.so is expected for a cuda device";
        return Err(wrong("libtorch", "", accepted));
    }
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    let shared = (cores / on_cpu.max(1)).max(1);
    Ok(WorkerConfig {
        devices,
        threads_per_worker: match raw.threads_per_worker {
            0 => shared,
            threads => threads,
        },
        libtorch: (!raw.libtorch.is_empty()).then(|| PathBuf::from(&raw.libtorch)),
        precision: raw
            .precision
            .parse()
            .map_err(|_| wrong("precision", &raw.precision, Precision::ACCEPTED))?,
    })
}

fn service(raw: &RawConfig, default_model: String) -> Result<ServiceConfig, ConfigError> {
    let max_batch_size = at_least_one("max_batch_size", raw.max_batch_size)?;
    at_most("max_batch_size", max_batch_size, MOST_CLIPS)?;
    if !(raw.false_alarm_rate > 0.0 && raw.false_alarm_rate < 1.0) {
        let accepted = "a share of normal frames above 0 and below 1 is expected";
        return Err(wrong("false_alarm_rate", raw.false_alarm_rate, accepted));
    }
    let powers = std::iter::successors(Some(1), |size| Some(2 * size));
    let mut warm_up_batch_sizes: Vec<usize> =
        powers.take_while(|&size| size < max_batch_size).collect();
    warm_up_batch_sizes.push(max_batch_size);
    Ok(ServiceConfig {
        batch: BatchPolicy { max_batch_size },
        admission: AdmissionLimits {
            max_clips: at_least_one("max_queue_clips", raw.max_queue_clips)?,
            max_bytes: at_least_one("max_queue_bytes", raw.max_queue_bytes)?,
        },
        max_message_bytes: at_least_one("max_message_bytes", raw.max_message_bytes)?,
        decode: DecodeLimits {
            max_bytes: at_least_one("max_frame_bytes", raw.max_frame_bytes)?,
            max_side: at_least_one("max_frame_side", raw.max_frame_side)?,
            max_pixels: at_least_one("max_frame_pixels", raw.max_frame_pixels)?,
            ..DecodeLimits::default()
        },
        false_alarm_rate: raw.false_alarm_rate,
        drain: DrainConfig {
            grace: Duration::from_millis(raw.drain_grace_ms),
            timeout: Duration::from_millis(raw.drain_timeout_ms),
        },
        warm_up_batch_sizes,
        fit_batch_size: raw.fit_batch_size,
        default_model,
        aliases: aliases(raw)?,
        watchdog: given_ms(raw.watchdog_ms),
        credentials: credentials(raw)?,
        connections: connections(raw)?,
        look_interval: LOOK_INTERVAL,
    })
}

fn at_most(key: &'static str, value: usize, most: usize) -> Result<(), ConfigError> {
    if value > most {
        return Err(wrong(key, value, format!("at most {most} is expected")));
    }
    Ok(())
}

pub(super) fn at_least_one(key: &'static str, value: usize) -> Result<usize, ConfigError> {
    if value == 0 { Err(wrong(key, value, "at least 1 is expected")) } else { Ok(value) }
}

fn log(raw: &RawConfig) -> Result<LogConfig, ConfigError> {
    let format = match raw.log_format.as_str() {
        "human" => LogFormat::Human,
        "json" => LogFormat::Json,
        other => return Err(wrong("log_format", other, "human or json is expected")),
    };
    EnvFilter::try_new(&raw.log_level).map_err(|_| {
        let accepted =
            "error, warn, info, debug, trace or directives like module=debug are expected";
        wrong("log_level", &raw.log_level, accepted)
    })?;
    let is_endpoint = |text: &str| text.starts_with("http://") && text.len() > "http://".len();
    if !raw.otlp_endpoint.is_empty() && !is_endpoint(&raw.otlp_endpoint) {
        let accepted = "a collector is expected, such as http://127.0.0.1:4317";
        return Err(wrong("otlp_endpoint", &raw.otlp_endpoint, accepted));
    }
    let otlp_endpoint = given(&raw.otlp_endpoint).map(str::to_owned);
    Ok(LogConfig { format, level: raw.log_level.clone(), otlp_endpoint })
}

#[cfg(test)]
mod tests;
