use std::collections::BTreeMap;
use std::sync::Arc;

use protoguard_proto::ModelRef;

use crate::model::Model;
use crate::{ModelSpec, ServeError, ServiceConfig, ServiceError};

/// The served models by name.
pub(crate) struct Registry {
    models: BTreeMap<String, Arc<Model>>,
    default_model: String,
}

impl Registry {
    /// Starts every model.
    pub(crate) fn start(specs: Vec<ModelSpec>, config: &ServiceConfig) -> Result<Self, ServeError> {
        let mut models = BTreeMap::new();
        for spec in specs {
            let model = Model::start(spec, config)?;
            let name = model.card().name.clone();
            if models.insert(name.clone(), Arc::new(model)).is_some() {
                return Err(ServeError::DuplicateModel { name });
            }
        }
        let default_model = config.default_model.clone();
        if !models.contains_key(&default_model) {
            let known = models.into_keys().collect();
            return Err(ServeError::UnknownDefault { name: default_model, known });
        }
        Ok(Self { models, default_model })
    }

    pub(crate) fn default_model(&self) -> &str {
        &self.default_model
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.models.values()
    }

    /// The model that a request asks for, or the default.
    pub(crate) fn find(&self, asked: Option<&ModelRef>) -> Result<Arc<Model>, ServiceError> {
        let name = asked.map_or(self.default_model.as_str(), |asked| &asked.name);
        let version = asked.and_then(|asked| asked.version.as_ref());
        self.models
            .get(name)
            .filter(|model| version.is_none_or(|version| model.card().version == *version))
            .cloned()
            .ok_or_else(|| ServiceError::UnknownModel {
                asked: asked.map_or_else(|| name.to_owned(), ModelRef::to_string),
                known: self.all().map(|model| described(model)).collect(),
            })
    }
}

fn described(model: &Model) -> String {
    format!("{}@{}", model.card().name, model.card().version)
}
