use std::collections::HashMap;

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
    /// Short form of `models`, each `PATH` or `NAME=PATH`; replaces it where it is not empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) model: Vec<String>,
    /// Name of the model that answers requests that name none; empty for the first.
    pub(crate) default_model: String,
    /// `cpu`, or `cuda:0` and so on.
    pub(crate) devices: Vec<String>,
    /// Replicas a device, each with its own thread.
    pub(crate) workers_per_device: usize,
    /// Threads of a forward pass on the CPU; 0 shares the cores evenly among the CPU's workers.
    pub(crate) threads_per_worker: usize,
    /// Folder with `libtorch_cuda.so`; only cuda devices need it.
    pub(crate) libtorch: String,
    /// `f32`, `bf16`, or `auto` for bf16 where the device computes it and the checkpoint proves
    /// itself in it.
    pub(crate) precision: String,
    /// Clips of a forward pass, at most: what the device's memory holds and where its rate levels
    /// off.
    pub(crate) max_batch_size: usize,
    /// How long a clip waits for company on an idle worker, and only while more is arriving.
    pub(crate) max_batch_delay_ms: u64,
    /// Clips of a model between admission and answer; more are refused as RESOURCE_EXHAUSTED.
    pub(crate) max_queue_clips: usize,
    /// The same bound in bytes of requests and of decoded clips.
    pub(crate) max_queue_bytes: usize,
    /// A larger request is refused before it is read in full.
    pub(crate) max_message_bytes: usize,
    /// Encoded bytes of a frame.
    pub(crate) max_frame_bytes: usize,
    /// Height and width of a frame in pixels, each.
    pub(crate) max_frame_side: usize,
    /// Height times width of a frame in pixels.
    pub(crate) max_frame_pixels: usize,
    /// Which calibrated threshold decides what is anomalous.
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
            model: Vec::new(),
            default_model: String::new(),
            devices: vec!["cpu".to_owned()],
            workers_per_device: 1,
            threads_per_worker: 0,
            libtorch: String::new(),
            precision: "auto".to_owned(),
            max_batch_size: 8,
            max_batch_delay_ms: 0,
            max_queue_clips: 256,
            max_queue_bytes: 512 << 20,
            max_message_bytes: 64 << 20,
            max_frame_bytes: 32 << 20,
            max_frame_side: 8192,
            max_frame_pixels: 40_000_000,
            false_alarm_rate: 0.01,
            drain_grace_ms: 0,
            drain_timeout_ms: 20_000,
            log_format: "human".to_owned(),
            log_level: "info".to_owned(),
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
        .set_override_option("devices", list(&flags.devices))?
        .set_override_option("workers_per_device", flags.workers_per_device)?
        .set_override_option("threads_per_worker", flags.threads_per_worker)?
        .set_override_option("libtorch", flags.libtorch.clone())?
        .set_override_option("precision", flags.precision.clone())?
        .set_override_option("max_batch_size", flags.max_batch_size)?
        .set_override_option("max_batch_delay_ms", flags.max_batch_delay_ms)?
        .set_override_option("max_queue_clips", flags.max_queue_clips)?
        .set_override_option("max_queue_bytes", flags.max_queue_bytes)?
        .set_override_option("max_message_bytes", flags.max_message_bytes)?
        .set_override_option("false_alarm_rate", flags.false_alarm_rate)?
        .set_override_option("drain_grace_ms", flags.drain_grace_ms)?
        .set_override_option("drain_timeout_ms", flags.drain_timeout_ms)?
        .set_override_option("log_format", flags.log_format.clone())?
        .set_override_option("log_level", flags.log_level.clone())?)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::Parser;

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
    }

    fn load(arguments: &[&str], variables: &[(&str, &str)]) -> Result<RawConfig, ConfigError> {
        let flags = Flags::parse_from([&["protoguard-server"], arguments].concat());
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        RawConfig::load(&flags, Some(variables.iter().map(owned).collect()))
    }

    #[test]
    fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
        let file = fixture("layers.toml");
        let config = ["--config", file.to_str().unwrap()];
        let from_file = load(&config, &[]).unwrap();
        assert_eq!((from_file.max_batch_size, from_file.max_queue_clips), (3, 30));
        assert_eq!(from_file.drain_timeout_ms, RawConfig::default().drain_timeout_ms);

        let variables = [
            ("PROTOGUARD_SERVER__MAX_BATCH_SIZE", "4"),
            ("PROTOGUARD_SERVER__DEVICES", "cpu,cuda:0"),
            ("PROTOGUARD_SERVER__FALSE_ALARM_RATE", "0.05"),
            ("PROTOGUARD_SERVER_PORT", "tcp://10.0.0.1:50051"),
        ];
        let with_environment = load(&config, &variables).unwrap();
        assert_eq!(with_environment.max_batch_size, 4);
        assert_eq!(with_environment.max_queue_clips, 30);
        assert_eq!(with_environment.devices, ["cpu", "cuda:0"]);
        assert_eq!(with_environment.false_alarm_rate, 0.05);

        let arguments = [&config[..], &["--max-batch-size", "5", "--devices", "cpu"]].concat();
        let with_flags = load(&arguments, &variables).unwrap();
        assert_eq!((with_flags.max_batch_size, with_flags.devices), (5, vec!["cpu".to_owned()]));
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let file = fixture("wrong_key.toml");
        let error = load(&["--config", file.to_str().unwrap()], &[]).unwrap_err().to_string();
        assert!(error.contains("max_batchsize"), "{error}");
        let error = load(&[], &[("PROTOGUARD_SERVER__LISTNE", "x")]).unwrap_err().to_string();
        assert!(error.contains("listne"), "{error}");
        let error = load(&["--config", "nowhere.toml"], &[]).unwrap_err().to_string();
        assert!(error.contains("nowhere.toml"), "{error}");
    }

    #[test]
    fn a_value_of_a_wrong_type_names_its_key() {
        let variables = [("PROTOGUARD_SERVER__MAX_BATCH_SIZE", "many")];
        let error = load(&[], &variables).unwrap_err().to_string();
        assert!(error.contains("max_batch_size") && error.contains("many"), "{error}");
    }

    #[test]
    fn the_short_form_replaces_the_list() {
        let file = fixture("layers.toml");
        let config = ["--config", file.to_str().unwrap()];
        assert_eq!(load(&config, &[]).unwrap().models[0].name, "hall");
        let arguments =
            [&config[..], &["--model", "a/door.safetensors", "--model", "b=c"]].concat();
        let models = load(&arguments, &[]).unwrap().models;
        let expected = [("", "a/door.safetensors"), ("b", "c")]
            .map(|(name, path)| RawModel { name: name.to_owned(), path: path.to_owned() });
        assert_eq!(models, expected);
    }

    #[test]
    fn what_is_printed_reads_back() {
        let arguments = ["--model", "b=c", "--max-queue-bytes", "1000"];
        let raw = load(&arguments, &[]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("printed.toml");
        std::fs::write(&path, raw.to_toml().unwrap()).unwrap();
        assert_eq!(load(&["--config", path.to_str().unwrap()], &[]).unwrap(), raw);
    }
}
