use protoguard_core::ScorerError;

use crate::error::listed;
use crate::registry::source::SourceError;
use crate::transport::credentials::CredentialError;

/// Why a service ended other than by its shutdown.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ServeError {
    /// Two models of one name.
    #[error("model `{name}` is configured twice; names must differ")]
    DuplicateModel {
        /// The name.
        name: String,
    },
    /// A model without a replica to run it.
    #[error("a model has 0 workers; at least 1 is needed")]
    NoReplica,
    /// The default model is none of those loaded.
    #[error("default_model is `{name}`; loaded are {}", listed(known))]
    UnknownDefault {
        /// The configured default.
        name: String,
        /// The models there are.
        known: Vec<String>,
    },
    /// An alias stands for none of the models.
    #[error("alias `{alias}` stands for `{target}`; loaded are {}", listed(known))]
    UnknownAlias {
        /// The alias.
        alias: String,
        /// What it stands for.
        target: String,
        /// The models there are.
        known: Vec<String>,
    },
    /// A name in the configuration is none.
    #[error("{key} is `{found}`; \"name\" or \"name@version\" is expected")]
    ModelName {
        /// The configuration's key.
        key: &'static str,
        /// Its value.
        found: String,
    },
    /// A model cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file of keys, certificates or tokens cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// A calibration cannot tell at the configured rate of false alarms what is anomalous.
    #[error(
        "false_alarm_rate is {rate}; model `{model}` has thresholds for {} in its calibration {id}, \
         which has no detector",
        known.iter().map(f64::to_string).collect::<Vec<_>>().join(" or ")
    )]
    NoThreshold {
        /// The configured rate.
        rate: f64,
        /// The model's name.
        model: String,
        /// The calibration.
        id: String,
        /// The rates that it has thresholds for.
        known: Vec<f64>,
    },
    /// A thread could not be started.
    #[error("worker {worker} of model `{model}` cannot be started: {reason}")]
    Thread {
        /// The model's name.
        model: String,
        /// Number of the worker.
        worker: usize,
        /// The system's words.
        reason: String,
    },
    /// A model has no worker left, while loading or later.
    #[error("model `{model}` is lost: {source}")]
    ModelLost {
        /// The model's name.
        model: String,
        /// What its last worker said.
        source: ScorerError,
    },
    /// The descriptor set for reflection cannot be read.
    #[error("reflection cannot be served: {reason}")]
    Reflection {
        /// tonic's words.
        reason: String,
    },
}
