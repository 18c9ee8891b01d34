//! Why a configuration cannot be used.

use std::path::PathBuf;

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
