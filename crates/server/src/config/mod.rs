//! Configuration in layers: defaults, then a file, then the environment, then flags.
//!
//! [`RawConfig`] defines every key once and is what the layers say together; it refuses keys that
//! it does not know and values that a key cannot take. [`Config`] is what the server runs on, with
//! what keys owe to each other checked. Nothing behind this module sees a raw value.

mod edges;
mod entries;
#[cfg(test)]
mod every_key;
mod kinds;
mod layers;
mod manual;
#[cfg(test)]
mod mutated;
mod names;
mod raw;
mod valid;
mod words;

use std::path::PathBuf;

pub(crate) use layers::{Layers, flag_layer};
pub(crate) use names::is_model_name;
pub(crate) use raw::RawConfig;
pub(crate) use valid::{Config, LogConfig, ModelFile, WorkerConfig};
pub(crate) use words::LogFormat;

/// A configuration that cannot be used. The message names the key, its value, where it was given
/// and what would be accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("configuration file {} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML, or has an unknown key.
    #[error("{origin}: {reason}")]
    File {
        /// File and line.
        origin: String,
        /// What is wrong there.
        reason: String,
    },
    /// A variable of the environment that is no key's.
    #[error("{variable}: there is no key `{key}`; --help lists them")]
    Variable {
        /// The variable.
        variable: String,
        /// What would be its key.
        key: String,
    },
    /// A layer has a value that its key does not take.
    #[error("{key} is `{found}` ({origin}); {accepted}")]
    Given {
        /// The key.
        key: String,
        /// Its value as it is written.
        found: String,
        /// The file and line, or the variable.
        origin: String,
        /// What would be accepted.
        accepted: String,
    },
    /// The layers cannot be laid over each other.
    #[error("configuration: {0}")]
    Layer(#[from] ::config::ConfigError),
    /// A value contradicts another.
    #[error("{key} is {found}; {accepted}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What would be accepted.
        accepted: String,
    },
}
