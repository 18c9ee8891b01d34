//! Every key of the configuration, written once.
//!
//! A field is a key of the file. Its clap argument is the flag, its name in capitals the
//! environment variable, its doc comment the manual: what `--help` and `--print-config` say. Its
//! default stands in its argument. Its type reads it from all three, so that a bound of a single
//! value stands in the type and is held wherever the value came from. What keys owe to each other
//! is checked in [`super::valid`].

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::builder::Resettable;
use clap::{Arg, Args, Command, FromArgMatches};
use protoguard_checkpoint::Precision;
use protoguard_model::DeviceSpec;
use serde::{Deserialize, Serialize};

use super::entries::{Aliases, RawModel};
use super::kinds::{ANY, Count, Often, Share, Switch};
use super::words::{Directives, Endpoint, LogFormat, Word};

/// Milliseconds; 0 for none where the key says so.
type Milliseconds = Count<0, ANY>;
/// A size that nothing fits in where it is 0.
type Size = Count<1, ANY>;

/// The configuration as a file, the environment and flags together say it.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawConfig {
    /// Address and port to listen on; port 0 takes a free one, which the first line of output names.
    #[arg(long, default_value = "127.0.0.1:50051")]
    pub(crate) listen: Word<SocketAddr>,
    /// Address and port for Prometheus and HTTP probes: `/metrics`, `/healthz`, `/readyz`; empty for
    /// none. It asks for no credential.
    #[arg(long, default_value = "")]
    pub(crate) metrics_listen: Word<Option<SocketAddr>>,
    /// The checkpoints to serve, each `PATH` (the file's stem is the name) or `NAME=PATH`: a flag
    /// for each, or separated by commas in the variable. In the file also as tables `[[models]]`
    /// with `name` and `path`. Key, variable and flag may be called `model` or `models`.
    #[arg(long = "model", alias = "models", value_name = "[NAME=]PATH")]
    #[serde(alias = "model")]
    pub(crate) models: Vec<RawModel>,
    /// Folder of checkpoints beside those of `models`: `NAME.safetensors`, or
    /// `NAME/VERSION.safetensors` for several versions of a name, the last of which answers
    /// requests that name none. What changes here is loaded while the server answers. Hidden
    /// entries, files of other kinds and folders that the server may not read are passed over.
    #[arg(long, default_value = "")]
    pub(crate) models_folder: Word<Option<PathBuf>>,
    /// Model that answers requests that name none, as `name`, `name@version` or an alias; empty
    /// for the first.
    #[arg(long, default_value = "")]
    pub(crate) default_model: String,
    /// Names that stand for a `name` or a `name@version`, as `live=hall@v2,old=hall@v1`; in the file
    /// a table. Those of a stronger layer join those of a weaker one.
    #[arg(long, default_value = "", value_name = "ALIAS=NAME,...")]
    pub(crate) aliases: Aliases,
    /// Devices to compute on: `cpu`, or `cuda:0` and so on.
    #[arg(long, default_value = "cpu", value_delimiter = ',')]
    pub(crate) devices: Vec<Word<DeviceSpec>>,
    /// Replicas a device, each with its own thread.
    #[arg(long, default_value = "1")]
    pub(crate) workers_per_device: Count<1, 256>,
    /// Threads of a forward pass on the CPU; 0 shares the cores evenly among the CPU's workers.
    #[arg(long, default_value = "0")]
    pub(crate) threads_per_worker: Count<0, ANY>,
    /// Folder with `libtorch_cuda.so`; only cuda devices need it.
    #[arg(long, default_value = "", env = "PROTOGUARD_LIBTORCH")]
    pub(crate) libtorch: Word<Option<PathBuf>>,
    /// What convolutions compute in: `f32`, `bf16`, `int8`, or `auto` for bf16 where the device is
    /// faster in it and the checkpoint proves itself in it. A processor needs AVX-512 for bf16.
    #[arg(long, default_value = "auto")]
    pub(crate) precision: Word<Precision>,
    /// Clips of a forward pass, at most: what the device's memory holds.
    #[arg(long, default_value = "8")]
    pub(crate) max_batch_size: Count<1, 1024>,
    /// Whether powers of two up to `max_batch_size` are timed at the start, and batches kept to the
    /// size whose clips cost the least.
    #[arg(long, default_value = "true", value_name = "BOOL")]
    pub(crate) fit_batch_size: Switch,
    /// Clips of a model between admission and answer; more are refused as RESOURCE_EXHAUSTED.
    #[arg(long, default_value = "256")]
    pub(crate) max_queue_clips: Size,
    /// Bytes of a model's requests and decoded clips between admission and answer; more are refused
    /// as RESOURCE_EXHAUSTED.
    #[arg(long, default_value = "536870912")]
    pub(crate) max_queue_bytes: Size,
    /// Bytes of a request, at most; a larger one is refused before it is read in full.
    #[arg(long, default_value = "67108864")]
    pub(crate) max_message_bytes: Size,
    /// Bytes of all requests that are being received and not yet admitted; more are refused as
    /// RESOURCE_EXHAUSTED. A lone request is always received.
    #[arg(long, default_value = "268435456")]
    pub(crate) max_receiving_bytes: Size,
    /// Encoded bytes of a frame, at most.
    #[arg(long, default_value = "33554432")]
    pub(crate) max_frame_bytes: Size,
    /// Height and width of a frame in pixels, each, at most.
    #[arg(long, default_value = "8192")]
    pub(crate) max_frame_side: Size,
    /// Height times width of a frame in pixels, at most.
    #[arg(long, default_value = "40000000")]
    pub(crate) max_frame_pixels: Size,
    /// Connections that may be open; more are closed at once.
    #[arg(long, default_value = "4096")]
    pub(crate) max_connections: Size,
    /// Milliseconds after which a connection is told to go away, so that callers spread over new
    /// replicas; 0 for never.
    #[arg(long, default_value = "0")]
    pub(crate) max_connection_age_ms: Milliseconds,
    /// Certificate chain in PEM; with `tls_key` it encrypts connections. It is read again
    /// when it changes, as all files of keys and tokens are.
    #[arg(long, default_value = "")]
    pub(crate) tls_certificate: Word<Option<PathBuf>>,
    /// Private key of the certificate in PEM.
    #[arg(long, default_value = "")]
    pub(crate) tls_key: Word<Option<PathBuf>>,
    /// Authorities in PEM; with them every caller needs a certificate of theirs.
    #[arg(long, default_value = "")]
    pub(crate) tls_client_ca: Word<Option<PathBuf>>,
    /// File of callers' bearer tokens, one a line; empty asks for none. Health never asks for one.
    #[arg(long, default_value = "")]
    pub(crate) token_file: Word<Option<PathBuf>>,
    /// File of the bearer tokens of administrators, who may reload models, one a line; without it
    /// callers from this machine may.
    #[arg(long, default_value = "")]
    pub(crate) admin_token_file: Word<Option<PathBuf>>,
    /// Milliseconds after which a forward pass counts as hanging and health turns to NOT_SERVING; 0
    /// for no watchdog.
    #[arg(long, default_value = "60000")]
    pub(crate) watchdog_ms: Milliseconds,
    /// Share of normal frames that may be called anomalous, above 0 and below 1; for a model whose
    /// calibration has no detector one of those that it has thresholds for, 0.01 or 0.05.
    #[arg(long, default_value = "0.01")]
    pub(crate) false_alarm_rate: Share,
    /// How often in an hour normal video may raise a stream's alarm where its caller does not say,
    /// above 0.
    #[arg(long, default_value = "1")]
    pub(crate) false_alarms_an_hour: Often,
    /// Streams that may be open; more are refused as RESOURCE_EXHAUSTED. Each holds the frames of a
    /// window, 1 MB at 256 pixels.
    #[arg(long, default_value = "1024")]
    pub(crate) max_streams: Size,
    /// Milliseconds after which a stream ends with a token that begins the next, so that cameras
    /// spread over new replicas; 0 for never.
    #[arg(long, default_value = "86400000")]
    pub(crate) max_stream_age_ms: Milliseconds,
    /// File of secrets of at least 16 bytes, one a line, for the resume tokens of streams: the first
    /// signs, all are known; replicas need the same. Without it tokens are protected against damage and not against forgery.
    #[arg(long, default_value = "")]
    pub(crate) resume_key_file: Word<Option<PathBuf>>,
    /// Milliseconds between NOT_SERVING and the end of accepting, in which load balancers look away.
    #[arg(long, default_value = "0")]
    pub(crate) drain_grace_ms: Milliseconds,
    /// Milliseconds for work in flight after `drain_grace_ms`; keep the sum of both below the time
    /// after which the supervisor kills the process.
    #[arg(long, default_value = "20000")]
    pub(crate) drain_timeout_ms: Milliseconds,
    /// Log lines for people or for programs: `human` or `json`.
    #[arg(long, default_value = "human")]
    pub(crate) log_format: Word<LogFormat>,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or directives such as
    /// `protoguard_service=debug,info`.
    #[arg(long, default_value = "info")]
    pub(crate) log_level: Word<Directives>,
    /// Collector that takes traces by OTLP over gRPC, such as `http://127.0.0.1:4317`; empty for
    /// none. A caller's `traceparent` makes its request a part of its trace.
    #[arg(long, default_value = "")]
    pub(crate) otlp_endpoint: Word<Option<Endpoint>>,
}

impl RawConfig {
    /// Every key as the flag that sets it; the argument's id is the key.
    pub(crate) fn keys() -> Vec<Arg> {
        Self::augment_args(Command::new("keys")).get_arguments().cloned().collect()
    }

    /// The configuration that `flags` give by themselves, whatever the environment is.
    ///
    /// # Errors
    /// When there is no such flag, or its value is not what its key takes.
    pub(super) fn from_flags<T>(flags: impl IntoIterator<Item = T>) -> Result<Self, clap::Error>
    where
        T: Into<OsString> + Clone,
    {
        let command = Self::augment_args(Command::new("keys").no_binary_name(true));
        let hermetic = command.mut_args(|key| key.env(Resettable::Reset));
        Self::from_arg_matches(&hermetic.try_get_matches_from(flags)?)
    }
}

impl Default for RawConfig {
    fn default() -> Self {
        // Every table of TOML that is read begins with it.
        static DEFAULT: LazyLock<RawConfig> = LazyLock::new(|| {
            RawConfig::from_flags::<&str>([])
                .expect("every key but `models`, a list, has a default")
        });
        DEFAULT.clone()
    }
}
