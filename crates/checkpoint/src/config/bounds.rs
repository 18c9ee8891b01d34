//! What is said of a value that is out of bounds.

/// A value that no network can be built from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}; it must be {accepted}")]
pub struct ConfigError {
    /// Path of the field.
    pub field: &'static str,
    /// Its value.
    pub found: String,
    /// What would be accepted.
    pub accepted: &'static str,
}

pub(super) fn require(
    holds: bool,
    violation: impl FnOnce() -> (&'static str, String, &'static str),
) -> Result<(), ConfigError> {
    if holds {
        return Ok(());
    }
    let (field, found, accepted) = violation();
    Err(ConfigError { field, found, accepted })
}
