use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogConfig, LogFormat};

/// Logs go to standard error; standard output carries only the address.
pub(crate) fn start(config: &LogConfig) {
    // The directives were checked with the configuration.
    let filter = EnvFilter::new(&config.level);
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.format {
        LogFormat::Human => lines.with_ansi(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}
