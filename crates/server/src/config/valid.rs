use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use protoguard_core::calibration::FALSE_ALARM_RATES;
use protoguard_model::{DeviceSpec, Precision};
use protoguard_service::{AdmissionLimits, BatchPolicy, DecodeLimits, DrainConfig, ServiceConfig};
use tracing_subscriber::EnvFilter;

use super::ConfigError;
use super::raw::{RawConfig, RawModel};

/// A configuration that was checked.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) models: Vec<ModelSource>,
    pub(crate) worker: WorkerConfig,
    pub(crate) service: ServiceConfig,
    pub(crate) log: LogConfig,
}

/// A checkpoint and the name that requests use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelSource {
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Human,
    Json,
}

impl TryFrom<&RawConfig> for Config {
    type Error = ConfigError;

    fn try_from(raw: &RawConfig) -> Result<Self, ConfigError> {
        let listen = raw.listen.parse().map_err(|_| {
            wrong("listen", &raw.listen, "an address and a port are expected, as 0.0.0.0:50051")
        })?;
        let models = models(&raw.models)?;
        let default_model = default_model(&raw.default_model, &models)?;
        let service = service(raw, default_model)?;
        Ok(Self { listen, models, worker: worker(raw)?, service, log: log(raw)? })
    }
}

fn wrong(key: &'static str, found: impl ToString, accepted: impl Into<String>) -> ConfigError {
    ConfigError::Value { key, found: format!("`{}`", found.to_string()), accepted: accepted.into() }
}

fn models(raw: &[RawModel]) -> Result<Vec<ModelSource>, ConfigError> {
    let mut models: Vec<ModelSource> = Vec::new();
    for RawModel { name, path } in raw {
        let path = PathBuf::from(path);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let name = if name.is_empty() { stem.to_owned() } else { name.clone() };
        if name.is_empty() || name.contains('@') || name.contains(char::is_whitespace) {
            let accepted = "a name without @ and spaces is expected, as in --model hall=PATH";
            return Err(wrong("models.name", name, accepted));
        }
        if models.iter().any(|model| model.name == name) {
            return Err(wrong("models.name", name, "it is taken; names must differ"));
        }
        models.push(ModelSource { name, path });
    }
    if models.is_empty() {
        let accepted =
            "at least one checkpoint is expected: --model PATH, or [[models]] in the file";
        return Err(wrong("models", "[]", accepted));
    }
    Ok(models)
}

fn default_model(name: &str, models: &[ModelSource]) -> Result<String, ConfigError> {
    let names = || models.iter().map(|model| model.name.as_str());
    if name.is_empty() {
        return Ok(names().next().unwrap_or_default().to_owned());
    }
    if !names().any(|known| known == name) {
        let known: Vec<&str> = names().collect();
        return Err(wrong("default_model", name, format!("accepted are {}", known.join(", "))));
    }
    Ok(name.to_owned())
}

fn worker(raw: &RawConfig) -> Result<WorkerConfig, ConfigError> {
    let mut devices = Vec::new();
    let workers = at_least_one("workers_per_device", raw.workers_per_device)?;
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
            .map_err(|_| wrong("precision", &raw.precision, "auto, f32 or bf16 is expected"))?,
    })
}

fn service(raw: &RawConfig, default_model: String) -> Result<ServiceConfig, ConfigError> {
    let max_batch_size = at_least_one("max_batch_size", raw.max_batch_size)?;
    if !FALSE_ALARM_RATES.contains(&raw.false_alarm_rate) {
        let accepted = FALSE_ALARM_RATES.map(|rate| rate.to_string()).join(" or ");
        let accepted = format!("{accepted} is expected, for which checkpoints have thresholds");
        return Err(wrong("false_alarm_rate", raw.false_alarm_rate, accepted));
    }
    let mut warm_up_batch_sizes = vec![1, max_batch_size];
    warm_up_batch_sizes.dedup();
    Ok(ServiceConfig {
        batch: BatchPolicy {
            max_batch_size,
            max_batch_delay: Duration::from_millis(raw.max_batch_delay_ms),
        },
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
        default_model,
    })
}

fn at_least_one(key: &'static str, value: usize) -> Result<usize, ConfigError> {
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
    Ok(LogConfig { format, level: raw.log_level.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> RawConfig {
        let model = RawModel { name: String::new(), path: "a/hall.safetensors".to_owned() };
        RawConfig { models: vec![model], ..RawConfig::default() }
    }

    fn message(change: impl FnOnce(&mut RawConfig)) -> String {
        let mut raw = raw();
        change(&mut raw);
        Config::try_from(&raw).unwrap_err().to_string()
    }

    #[test]
    fn defaults_serve_one_model_on_the_cpu() {
        let config = Config::try_from(&raw()).unwrap();
        assert_eq!(config.service.default_model, "hall");
        assert_eq!(config.worker.devices, [DeviceSpec::Cpu]);
        let cores = available_parallelism().unwrap().get();
        assert_eq!(config.worker.threads_per_worker, cores);
        assert_eq!(config.service, ServiceConfig::new("hall"));
    }

    #[test]
    fn workers_share_the_cores() {
        let mut raw = raw();
        raw.workers_per_device = 4 * available_parallelism().unwrap().get();
        assert_eq!(Config::try_from(&raw).unwrap().worker.threads_per_worker, 1);
    }

    #[test]
    fn every_wrong_value_names_key_value_and_what_is_accepted() {
        assert_eq!(
            message(|raw| raw.listen = "here".to_owned()),
            "listen is `here`; an address and a port are expected, as 0.0.0.0:50051"
        );
        assert_eq!(
            message(|raw| raw.models.clear()),
            "models is `[]`; at least one checkpoint is expected: --model PATH, or [[models]] in \
             the file"
        );
        assert_eq!(
            message(|raw| raw.default_model = "door".to_owned()),
            "default_model is `door`; accepted are hall"
        );
        assert_eq!(
            message(|raw| raw.devices = vec!["tpu".to_owned()]),
            "devices is `tpu`; cpu, or cuda:N with N from 0, is expected"
        );
        assert_eq!(
            message(|raw| raw.max_batch_size = 0),
            "max_batch_size is `0`; at least 1 is expected"
        );
        assert_eq!(
            message(|raw| raw.false_alarm_rate = 0.5),
            "false_alarm_rate is `0.5`; 0.01 or 0.05 is expected, for which checkpoints have \
             thresholds"
        );
        assert_eq!(
            message(|raw| raw.log_format = "xml".to_owned()),
            "log_format is `xml`; human or json is expected"
        );
        let twice = message(|raw| raw.models.push(raw.models[0].clone()));
        assert_eq!(twice, "models.name is `hall`; it is taken; names must differ");
        assert_eq!(
            message(|raw| raw.precision = "int4".to_owned()),
            "precision is `int4`; auto, f32 or bf16 is expected"
        );
        let cuda = message(|raw| raw.devices = vec!["cuda:0".to_owned()]);
        assert!(cuda.starts_with("libtorch is ``"), "{cuda}");
    }
}
