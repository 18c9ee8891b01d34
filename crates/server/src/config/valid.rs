use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use protoguard_core::calibration::FALSE_ALARM_RATES;
use protoguard_model::{DeviceSpec, Precision};
use protoguard_service::{
    AdmissionLimits, BatchPolicy, ConnectionConfig, CredentialFiles, DecodeLimits, DrainConfig,
    ServiceConfig, TlsFiles,
};
use tracing_subscriber::EnvFilter;

use super::ConfigError;
use super::raw::{RawConfig, RawModel};

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
fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// A duration that is 0 where it is absent.
fn given_ms(ms: u64) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_millis(ms))
}

fn address(key: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    let accepted = "an address and a port are expected, as 0.0.0.0:50051";
    text.parse().map_err(|_| wrong(key, text, accepted))
}

fn wrong(key: &'static str, found: impl ToString, accepted: impl Into<String>) -> ConfigError {
    ConfigError::Value { key, found: format!("`{}`", found.to_string()), accepted: accepted.into() }
}

fn models(raw: &RawConfig) -> Result<Vec<ModelFile>, ConfigError> {
    let mut models: Vec<ModelFile> = Vec::new();
    for RawModel { name, path } in &raw.models {
        let path = PathBuf::from(path);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let name = if name.is_empty() { stem.to_owned() } else { name.clone() };
        if !is_model_name(&name) {
            let accepted = "a name without @ and spaces is expected, as in --model hall=PATH";
            return Err(wrong("models.name", name, accepted));
        }
        if models.iter().any(|model| model.name == name) {
            return Err(wrong("models.name", name, "it is taken; names must differ"));
        }
        models.push(ModelFile { name, path });
    }
    if models.is_empty() && raw.models_folder.is_empty() {
        let accepted = "at least one checkpoint is expected: --model PATH, --models-folder FOLDER, or [[models]] \
             in the file";
        return Err(wrong("models", "[]", accepted));
    }
    Ok(models)
}

/// Whether requests can name a model so.
pub(crate) fn is_model_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('@') && !name.contains(char::is_whitespace)
}

/// What a folder holds is known only when it is read: the service checks such a name itself.
fn default_model(raw: &RawConfig, models: &[ModelFile]) -> Result<String, ConfigError> {
    let name = &raw.default_model;
    let names = || models.iter().map(|model| model.name.as_str());
    if name.is_empty() {
        return Ok(names().next().unwrap_or_default().to_owned());
    }
    let bare = name.split_once('@').map_or(name.as_str(), |(bare, _)| bare);
    let known = || names().chain(raw.aliases.keys().map(String::as_str));
    if raw.models_folder.is_empty() && !known().any(|known| known == bare) {
        let known: Vec<&str> = known().collect();
        return Err(wrong("default_model", name, format!("accepted are {}", known.join(", "))));
    }
    Ok(name.to_owned())
}

fn aliases(raw: &RawConfig) -> Result<BTreeMap<String, String>, ConfigError> {
    for (alias, target) in &raw.aliases {
        if !is_model_name(alias) || raw.models.iter().any(|model| model.name == *alias) {
            let accepted = "a name without @ and spaces is expected that no model has";
            return Err(wrong("aliases", alias, accepted));
        }
        let is_whole = |part: &str| is_model_name(part);
        if !target.split('@').all(is_whole) || target.matches('@').count() > 1 {
            let accepted = format!("name or name@version is expected for `{alias}`");
            return Err(wrong("aliases", target, accepted));
        }
    }
    Ok(raw.aliases.clone())
}

fn credentials(raw: &RawConfig) -> Result<CredentialFiles, ConfigError> {
    let path = |text: &str| given(text).map(PathBuf::from);
    let tls = match (path(&raw.tls_certificate), path(&raw.tls_key)) {
        (Some(certificate), Some(key)) => {
            Some(TlsFiles { certificate, key, client_ca: path(&raw.tls_client_ca) })
        }
        (None, None) if raw.tls_client_ca.is_empty() => None,
        (None, _) => {
            return Err(wrong(
                "tls_certificate",
                "",
                "it is expected with tls_key or tls_client_ca",
            ));
        }
        (Some(_), None) => return Err(wrong("tls_key", "", "it is expected with tls_certificate")),
    };
    let (tokens, admin_tokens) = (path(&raw.token_file), path(&raw.admin_token_file));
    Ok(CredentialFiles { tls, tokens, admin_tokens })
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
        aliases: aliases(raw)?,
        watchdog: given_ms(raw.watchdog_ms),
        credentials: credentials(raw)?,
        connections: ConnectionConfig {
            max_connections: at_least_one("max_connections", raw.max_connections)?,
            max_age: given_ms(raw.max_connection_age_ms),
            ..ConnectionConfig::default()
        },
        look_interval: LOOK_INTERVAL,
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
    let is_endpoint = |text: &str| text.starts_with("http://") && text.len() > "http://".len();
    if !raw.otlp_endpoint.is_empty() && !is_endpoint(&raw.otlp_endpoint) {
        let accepted = "a collector is expected, such as http://127.0.0.1:4317";
        return Err(wrong("otlp_endpoint", &raw.otlp_endpoint, accepted));
    }
    let otlp_endpoint = given(&raw.otlp_endpoint).map(str::to_owned);
    Ok(LogConfig { format, level: raw.log_level.clone(), otlp_endpoint })
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
    fn a_folder_alone_is_enough_and_its_names_are_checked_later() {
        let raw = RawConfig {
            models: Vec::new(),
            models_folder: "models".to_owned(),
            default_model: "hall@v2".to_owned(),
            watchdog_ms: 0,
            ..raw()
        };
        let config = Config::try_from(&raw).unwrap();
        assert_eq!(config.models_folder, Some(PathBuf::from("models")));
        assert_eq!(config.service.default_model, "hall@v2");
        assert_eq!(config.service.watchdog, None);
        let first = RawConfig { default_model: String::new(), ..raw };
        assert_eq!(Config::try_from(&first).unwrap().service.default_model, "");
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
            "models is `[]`; at least one checkpoint is expected: --model PATH, --models-folder \
             FOLDER, or [[models]] in the file"
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
        let alias = |name: &str, target: &str| {
            message(|raw| drop(raw.aliases.insert(name.to_owned(), target.to_owned())))
        };
        assert_eq!(
            alias("live", "hall@a@b"),
            "aliases is `hall@a@b`; name or name@version is expected for `live`"
        );
        assert_eq!(
            alias("a b", "hall"),
            "aliases is `a b`; a name without @ and spaces is expected that no model has"
        );
        assert_eq!(
            message(|raw| raw.tls_certificate = "a.pem".to_owned()),
            "tls_key is ``; it is expected with tls_certificate"
        );
        assert_eq!(
            message(|raw| raw.tls_client_ca = "ca.pem".to_owned()),
            "tls_certificate is ``; it is expected with tls_key or tls_client_ca"
        );
        assert_eq!(
            message(|raw| raw.metrics_listen = "9090".to_owned()),
            "metrics_listen is `9090`; an address and a port are expected, as 0.0.0.0:50051"
        );
        assert_eq!(
            message(|raw| raw.otlp_endpoint = "here".to_owned()),
            "otlp_endpoint is `here`; a collector is expected, such as http://127.0.0.1:4317"
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
