//! Where models come from, as the service sees it: places that can be looked at and loaded again.

use std::fmt;
use std::sync::Arc;

use protoguard_core::ScorerFactory;

use crate::file_stamp::FileStamp;

/// A model's place: its name, and where several versions of a name are kept, the version's label.
/// The checkpoint in a place may change; its content hash is the version that answers carry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// What requests call the model.
    pub name: String,
    /// What requests may put behind an `@` besides the content hash.
    pub label: Option<String>,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.label {
            Some(label) => write!(f, "{}@{label}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A model that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundModel {
    /// Its place.
    pub slot: Slot,
    /// Its state, which is another as soon as loading it may give another model.
    pub stamp: FileStamp,
}

/// A model to be served: one factory a worker, all of the same checkpoint.
#[derive(Clone)]
pub struct ModelSpec {
    /// Each makes the replica of one worker, on that worker's thread. The first one's card
    /// describes the model.
    pub replicas: Vec<Arc<dyn ScorerFactory>>,
}

/// What is wrong with a source or with one of its models.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SourceError {
    /// In the source's words.
    pub reason: String,
}

/// Gives the service its models, at the start and again at every reload. Both calls may block.
pub trait ModelSource: Send + Sync {
    /// What there is now.
    ///
    /// # Errors
    /// When that cannot be told. A model that is merely absent from the answer is given up.
    fn scan(&self) -> Result<Vec<FoundModel>, SourceError>;

    /// Reads and checks one model; its replicas are built later, on the threads that use them.
    ///
    /// # Errors
    /// When it is missing or cannot be used.
    fn load(&self, slot: &Slot) -> Result<ModelSpec, SourceError>;
}

/// Models that are at hand and never change.
pub(crate) struct FixedSource(pub(crate) Vec<ModelSpec>);

impl FixedSource {
    fn slot(spec: &ModelSpec) -> Option<Slot> {
        spec.replicas.first().map(|factory| Slot { name: factory.card().name.clone(), label: None })
    }
}

impl ModelSource for FixedSource {
    fn scan(&self) -> Result<Vec<FoundModel>, SourceError> {
        let found =
            |spec| Self::slot(spec).map(|slot| FoundModel { slot, stamp: FileStamp::default() });
        let reason = || "a model has 0 workers; at least 1 is needed".to_owned();
        self.0
            .iter()
            .map(found)
            .collect::<Option<_>>()
            .ok_or_else(|| SourceError { reason: reason() })
    }

    fn load(&self, slot: &Slot) -> Result<ModelSpec, SourceError> {
        let found = self.0.iter().find(|spec| Self::slot(spec).as_ref() == Some(slot));
        found.cloned().ok_or_else(|| SourceError { reason: format!("there is no model `{slot}`") })
    }
}
