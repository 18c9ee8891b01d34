//! The configuration that the server runs on, after what keys owe to each other was checked.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use protoguard_checkpoint::Precision;
use protoguard_model::DeviceSpec;
use protoguard_service::{AdmissionLimits, BatchPolicy, DecodeLimits, DrainConfig, ServiceConfig};

use super::edges::{connections, credentials, streams};
use super::names::{aliases, default_model, models};
use super::words::{Endpoint, LogFormat, Word};
use super::{ConfigError, RawConfig};

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
    /// Directives that the log's filter takes.
    pub(crate) level: String,
    pub(crate) otlp_endpoint: Option<String>,
}

impl TryFrom<&RawConfig> for Config {
    type Error = ConfigError;

    fn try_from(raw: &RawConfig) -> Result<Self, ConfigError> {
        let models = models(raw)?;
        let service = ServiceConfig {
            default_model: default_model(raw, &models)?,
            aliases: aliases(raw, &models)?,
            ..service(raw)?
        };
        Ok(Self {
            listen: raw.listen.0,
            metrics_listen: raw.metrics_listen.0,
            models,
            models_folder: raw.models_folder.0.clone(),
            worker: worker(raw)?,
            service,
            log: log(raw),
        })
    }
}

pub(super) fn wrong(
    key: &'static str,
    found: impl ToString,
    accepted: impl Into<String>,
) -> ConfigError {
    ConfigError::Value { key, found: format!("`{}`", found.to_string()), accepted: accepted.into() }
}

fn worker(raw: &RawConfig) -> Result<WorkerConfig, ConfigError> {
    if raw.devices.is_empty() {
        return Err(wrong("devices", "[]", "at least one is expected, such as cpu"));
    }
    let workers = raw.workers_per_device.size();
    let of_device = |device: &Word<DeviceSpec>| std::iter::repeat_n(device.0, workers);
    let devices: Vec<DeviceSpec> = raw.devices.iter().flat_map(of_device).collect();
    let on_cpu = devices.iter().filter(|device| **device == DeviceSpec::Cpu).count();
    let libtorch = raw.libtorch.0.clone();
    if on_cpu < devices.len() && libtorch.is_none() {
        let accepted = "the folder with libtorch_cuda.so is expected for a cuda device";
        return Err(wrong("libtorch", "", accepted));
    }
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    let shared = (cores / on_cpu.max(1)).max(1);
    let threads_per_worker = match raw.threads_per_worker.size() {
        0 => shared,
        threads => threads,
    };
    Ok(WorkerConfig { devices, threads_per_worker, libtorch, precision: raw.precision.0 })
}

/// The service's part but for the names of models.
fn service(raw: &RawConfig) -> Result<ServiceConfig, ConfigError> {
    let max_batch_size = raw.max_batch_size.size();
    let powers = std::iter::successors(Some(1), |size| Some(2 * size));
    let mut warm_up_batch_sizes: Vec<usize> =
        powers.take_while(|&size| size < max_batch_size).collect();
    warm_up_batch_sizes.push(max_batch_size);
    Ok(ServiceConfig {
        batch: BatchPolicy { max_batch_size },
        admission: AdmissionLimits {
            max_clips: raw.max_queue_clips.size(),
            max_bytes: raw.max_queue_bytes.size(),
        },
        max_message_bytes: raw.max_message_bytes.size(),
        decode: DecodeLimits {
            max_bytes: raw.max_frame_bytes.size(),
            max_side: raw.max_frame_side.size(),
            max_pixels: raw.max_frame_pixels.size(),
            ..DecodeLimits::default()
        },
        false_alarm_rate: raw.false_alarm_rate.0,
        drain: DrainConfig { grace: raw.drain_grace_ms.ms(), timeout: raw.drain_timeout_ms.ms() },
        warm_up_batch_sizes,
        fit_batch_size: raw.fit_batch_size.0,
        watchdog: raw.watchdog_ms.given_ms(),
        credentials: credentials(raw)?,
        connections: connections(raw),
        streams: streams(raw),
        look_interval: LOOK_INTERVAL,
        ..ServiceConfig::new("")
    })
}

fn log(raw: &RawConfig) -> LogConfig {
    let endpoint = raw.otlp_endpoint.0.clone();
    LogConfig {
        format: raw.log_format.0,
        level: raw.log_level.0.0.clone(),
        otlp_endpoint: endpoint.map(|Endpoint(address)| address),
    }
}

#[cfg(test)]
mod tests;
