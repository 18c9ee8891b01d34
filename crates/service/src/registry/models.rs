//! The models that are served, by place; one may be put in another's place at any time.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use protoguard_frames::files::natural_order;
use protoguard_proto::ModelRef;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::error::ServiceError;
use crate::queue::fair_queue::CallerId;
use crate::registry::error::NameError;
use crate::registry::model::Model;
use crate::registry::source::Slot;

/// What requests may name.
pub(crate) struct Registry {
    places: RwLock<Places>,
    names: Names,
    /// Models that were replaced and answer what they have admitted.
    retiring: TaskTracker,
}

/// Names that stand for others, from the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) aliases: BTreeMap<String, ModelRef>,
    /// Answers requests that name no model.
    pub(crate) default_model: ModelRef,
}

#[derive(Default)]
struct Places {
    models: BTreeMap<Slot, Arc<Model>>,
    /// Nothing is put here any more.
    closed: bool,
}

impl Registry {
    /// Puts every model into its place.
    ///
    /// # Errors
    /// When the default or an alias stands for none of them.
    pub(crate) fn new(models: Vec<Model>, names: Names) -> Result<Self, NameError> {
        let models = models.into_iter().map(|model| (model.slot().clone(), Arc::new(model)));
        let places = RwLock::new(Places { models: models.collect(), closed: false });
        let registry = Self { places, names, retiring: TaskTracker::new() };
        registry.check_names()?;
        registry.all().iter().for_each(|model| model.metrics().shown(model.card()));
        Ok(registry)
    }

    fn check_names(&self) -> Result<(), NameError> {
        let Names { aliases, default_model } = &self.names;
        for (alias, target) in aliases {
            if self.best(target).is_none() {
                let alias = alias.clone();
                let target = target.to_string();
                return Err(NameError::UnknownAlias { alias, target, known: self.known() });
            }
        }
        if self.best(&self.resolved(default_model)).is_none() {
            let name = default_model.to_string();
            return Err(NameError::UnknownDefault { name, known: self.known() });
        }
        Ok(())
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    pub(crate) fn all(&self) -> Vec<Arc<Model>> {
        self.read(|places| places.models.values().cloned().collect())
    }

    /// The model that a request asks for, or the default.
    pub(crate) fn find(&self, asked: Option<&ModelRef>) -> Result<Arc<Model>, ServiceError> {
        let asked = asked.unwrap_or(&self.names.default_model);
        self.best(&self.resolved(asked)).ok_or_else(|| ServiceError::UnknownModel {
            asked: asked.to_string(),
            known: self.known(),
        })
    }

    /// Whether every model's next clip of this caller would be too late.
    pub(crate) fn is_too_late(&self, caller: CallerId, deadline: Option<Instant>) -> bool {
        self.read(|places| {
            places.models.values().all(|model| model.intake().is_too_late(caller, deadline))
        })
    }

    /// The model in a place.
    pub(crate) fn at(&self, slot: &Slot) -> Option<Arc<Model>> {
        self.read(|places| places.models.get(slot).cloned())
    }

    /// Whether the default or an alias stands for the model in a place.
    pub(crate) fn is_named(&self, slot: &Slot) -> bool {
        let named = self.names.aliases.values().chain([&self.names.default_model]);
        named.filter_map(|asked| self.best(&self.resolved(asked))).any(|model| model.slot() == slot)
    }

    /// Puts a model into its place. Requests find it from here on; the one that was there before
    /// answers what it has admitted, for as long as `patience`. Nothing is put into a registry
    /// that was closed.
    pub(crate) fn put(&self, model: Model, patience: Duration) {
        let model = Arc::new(model);
        let replaced = {
            let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
            if places.closed {
                return;
            }
            model.metrics().shown(model.card());
            places.models.insert(model.slot().clone(), model)
        };
        self.retire(replaced, patience);
    }

    /// Takes a model out of its place.
    pub(crate) fn remove(&self, slot: &Slot, patience: Duration) {
        let removed =
            self.places.write().unwrap_or_else(PoisonError::into_inner).models.remove(slot);
        self.retire(removed, patience);
    }

    fn retire(&self, model: Option<Arc<Model>>, patience: Duration) {
        if let Some(model) = model {
            model.metrics().hidden(model.card());
            self.retiring.spawn(async move { model.retire(patience).await });
        }
    }

    /// Ends every model, waiting for none longer than `patience`. Says whether all ended.
    pub(crate) async fn close(&self, patience: Duration) -> bool {
        self.places.write().unwrap_or_else(PoisonError::into_inner).closed = true;
        let mut ended = true;
        for model in self.all() {
            ended &= model.close(patience).await;
        }
        self.retiring.close();
        ended & tokio::time::timeout(patience, self.retiring.wait()).await.is_ok()
    }

    /// What an alias stands for; a version that the request names goes before the alias's own.
    fn resolved(&self, asked: &ModelRef) -> ModelRef {
        match self.names.aliases.get(&asked.name) {
            Some(target) => ModelRef {
                name: target.name.clone(),
                version: asked.version.clone().or_else(|| target.version.clone()),
            },
            None => asked.clone(),
        }
    }

    /// Of a name's models that fit the version, the one without label, or of the last label.
    fn best(&self, asked: &ModelRef) -> Option<Arc<Model>> {
        let fits = |model: &&Arc<Model>| {
            let version = |version: &String| {
                *version == model.card().version || Some(version) == model.slot().label.as_ref()
            };
            model.slot().name == asked.name && asked.version.as_ref().is_none_or(version)
        };
        self.read(|places| {
            places.models.values().filter(fits).max_by(|a, b| later(a.slot(), b.slot())).cloned()
        })
    }

    fn known(&self) -> Vec<String> {
        let described = |model: &Arc<Model>| match &model.slot().label {
            Some(_) => model.slot().to_string(),
            None => format!("{}@{}", model.slot().name, model.card().version),
        };
        self.all().iter().map(described).collect()
    }

    fn read<T>(&self, look: impl FnOnce(&Places) -> T) -> T {
        // Every change is one insertion or removal, so a panic elsewhere spoils nothing.
        look(&self.places.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Which of a name's places answers requests that name no version.
fn later(a: &Slot, b: &Slot) -> Ordering {
    match (&a.label, &b.label) {
        (Some(a), Some(b)) => natural_order(a, b),
        (a, b) => a.is_none().cmp(&b.is_none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_count_as_numbers_and_none_is_last() {
        let ordered =
            ["", "2024-2", "2024-10", "v1", "v01x", "v2", "v9", "v10", "v10.1", "v10.10", "w"];
        let slot =
            |label: Option<&str>| Slot { name: "hall".to_owned(), label: label.map(str::to_owned) };
        for pair in ordered.windows(2) {
            let [a, b] = [pair[0], pair[1]].map(|label| slot(Some(label)));
            assert_eq!(later(&a, &b), Ordering::Less, "{pair:?}");
            assert_eq!(later(&b, &slot(None)), Ordering::Less);
        }
    }
}
