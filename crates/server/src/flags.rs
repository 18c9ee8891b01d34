use std::path::PathBuf;

use clap::Parser;

/// Serves anomaly scores over gRPC.
///
/// Every setting has a key in the configuration file (TOML), an environment variable
/// (PROTOGUARD_SERVER__ and the key in capitals, such as PROTOGUARD_SERVER__MAX_BATCH_SIZE) and a
/// flag; the flag wins over the environment, the environment over the file, the file over the
/// default. `--print-config` shows what results.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "protoguard-server", version)]
pub(crate) struct Flags {
    /// Configuration file in TOML.
    #[arg(long, short, env = "PROTOGUARD_SERVER_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Checks the configuration and exits.
    #[arg(long)]
    pub(crate) check_config: bool,
    /// Prints the effective configuration as TOML and exits.
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long)]
    pub(crate) listen: Option<String>,
    /// Checkpoint to serve, as PATH (its file's stem is the name) or NAME=PATH; repeat for more.
    #[arg(long, value_name = "[NAME=]PATH")]
    pub(crate) model: Vec<String>,
    /// Folder of checkpoints, as NAME.safetensors or NAME/VERSION.safetensors.
    #[arg(long)]
    pub(crate) models_folder: Option<String>,
    /// Model that answers requests that name none; the first where absent.
    #[arg(long)]
    pub(crate) default_model: Option<String>,
    /// Address and port for Prometheus and HTTP probes; none where absent.
    #[arg(long)]
    pub(crate) metrics_listen: Option<String>,
    /// Devices to compute on, such as cpu or cuda:0,cuda:1.
    #[arg(long, value_delimiter = ',')]
    pub(crate) devices: Vec<String>,
    /// Replicas a device.
    #[arg(long)]
    pub(crate) workers_per_device: Option<u64>,
    /// Threads of a forward pass on the CPU; the cores shared by its workers where absent.
    #[arg(long)]
    pub(crate) threads_per_worker: Option<u64>,
    /// Folder with libtorch_cuda.so, which cuda devices need.
    #[arg(long, env = "PROTOGUARD_LIBTORCH")]
    pub(crate) libtorch: Option<String>,
    /// What convolutions compute in: auto, f32, bf16 or int8.
    #[arg(long)]
    pub(crate) precision: Option<String>,
    /// Clips of a forward pass, at most.
    #[arg(long)]
    pub(crate) max_batch_size: Option<u64>,
    /// Whether batches are kept to the size whose clips cost the least, as timed at the start.
    #[arg(long)]
    pub(crate) fit_batch_size: Option<bool>,
    /// Clips of a model that may be in flight.
    #[arg(long)]
    pub(crate) max_queue_clips: Option<u64>,
    /// Bytes of requests and clips of a model that may be in flight.
    #[arg(long)]
    pub(crate) max_queue_bytes: Option<u64>,
    /// Bytes of a request, at most.
    #[arg(long)]
    pub(crate) max_message_bytes: Option<u64>,
    /// Bytes of all requests that are being received, at most.
    #[arg(long)]
    pub(crate) max_receiving_bytes: Option<u64>,
    /// Connections that may be open.
    #[arg(long)]
    pub(crate) max_connections: Option<u64>,
    /// Milliseconds after which a connection is told to go away; 0 for never.
    #[arg(long)]
    pub(crate) max_connection_age_ms: Option<u64>,
    /// Certificate chain in PEM.
    #[arg(long)]
    pub(crate) tls_certificate: Option<String>,
    /// Its private key in PEM.
    #[arg(long)]
    pub(crate) tls_key: Option<String>,
    /// Authorities in PEM whose certificates callers need.
    #[arg(long)]
    pub(crate) tls_client_ca: Option<String>,
    /// File of callers' bearer tokens, one a line.
    #[arg(long)]
    pub(crate) token_file: Option<String>,
    /// File of administrators' bearer tokens, one a line.
    #[arg(long)]
    pub(crate) admin_token_file: Option<String>,
    /// Milliseconds after which a forward pass hangs; 0 for no watchdog.
    #[arg(long)]
    pub(crate) watchdog_ms: Option<u64>,
    /// Collector that takes traces by OTLP over gRPC.
    #[arg(long)]
    pub(crate) otlp_endpoint: Option<String>,
    /// Share of normal frames that may be called anomalous, above 0 and below 1; 0.01 or 0.05
    /// for a checkpoint without a detector.
    #[arg(long)]
    pub(crate) false_alarm_rate: Option<f64>,
    /// Milliseconds between NOT_SERVING and the end of accepting.
    #[arg(long)]
    pub(crate) drain_grace_ms: Option<u64>,
    /// Milliseconds for work in flight after that.
    #[arg(long)]
    pub(crate) drain_timeout_ms: Option<u64>,
    /// Log lines for people or as JSON.
    #[arg(long)]
    pub(crate) log_format: Option<String>,
    /// What is logged, such as info or protoguard_service=debug,info.
    #[arg(long)]
    pub(crate) log_level: Option<String>,
}
