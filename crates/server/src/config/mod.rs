//! Configuration in layers: defaults, then a file, then the environment, then flags.
//!
//! [`RawConfig`] is what those say, and refuses keys that it does not know; [`Config`] is what
//! the server runs on, every value checked. Nothing behind this module sees a raw value.

mod edges;
#[cfg(test)]
mod mutated;
mod names;
mod raw;
mod valid;

pub(crate) use names::is_model_name;
pub(crate) use raw::RawConfig;
pub(crate) use valid::{Config, LogConfig, LogFormat, ModelFile, WorkerConfig};

/// A configuration that cannot be used. The message names the key, its value and what would be
/// accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A layer cannot be read, or has a key or type that is not known.
    #[error("configuration: {0}")]
    Layer(#[from] ::config::ConfigError),
    /// A value is out of range or contradicts another.
    #[error("{key} is {found}; {accepted}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What would be accepted.
        accepted: String,
    },
    /// The effective configuration cannot be written.
    #[error("configuration cannot be printed: {0}")]
    Print(#[from] toml::ser::Error),
}
