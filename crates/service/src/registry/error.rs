//! What stands against serving a model.

use protoguard_core::ScorerError;

use crate::error::listed;
use crate::worker::crew::ThreadError;

/// Why a model is not served, or no longer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// A model without a replica to run it.
    #[error("a model has 0 workers; at least 1 is needed")]
    NoReplica,
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
    #[error(transparent)]
    Thread(#[from] ThreadError),
    /// A model has no worker left, while loading or later.
    #[error("model `{model}` is lost: {source}")]
    Lost {
        /// The model's name.
        model: String,
        /// What its last worker said.
        source: ScorerError,
    },
}

/// A configured name that stands for no model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
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
}
