//! Why a server does not start, or ends before it is told to.

use crate::registry::error::{ModelError, NameError};
use crate::registry::source::SourceError;
use crate::transport::credentials::files::CredentialError;

/// Why a service ended other than by its shutdown.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ServeError {
    /// Two models of one name.
    #[error("model `{name}` is configured twice; names must differ")]
    DuplicateModel {
        /// The name.
        name: String,
    },
    /// A name in the configuration is none.
    #[error("{key} is `{found}`; \"name\" or \"name@version\" is expected")]
    ModelName {
        /// The configuration's key.
        key: &'static str,
        /// Its value.
        found: String,
    },
    /// The default or an alias stands for none of the models.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A model cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file of keys, certificates or tokens cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// A model cannot be started, or was lost.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The descriptor set for reflection cannot be read.
    #[error("reflection cannot be served: {reason}")]
    Reflection {
        /// tonic's words.
        reason: String,
    },
}
