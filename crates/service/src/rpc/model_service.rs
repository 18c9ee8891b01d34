//! What models there are, and the call that loads them again.

use std::sync::Arc;

use protoguard_proto::v1::model_service_server::ModelService;
use protoguard_proto::{FieldViolation, ModelRef, v1};
use tonic::{Request, Response, Status};

use crate::error::ServiceError;
use crate::registry::model::Model;
use crate::registry::models::Registry;
use crate::registry::reload::{Reloaded, Reloader};
use crate::transport::counting::AskedModel;

/// `protoguard.v1.ModelService`.
pub(crate) struct Models {
    pub(crate) registry: Arc<Registry>,
    pub(crate) reloader: Reloader,
}

#[tonic::async_trait]
impl ModelService for Models {
    async fn list_models(
        &self,
        _request: Request<v1::ListModelsRequest>,
    ) -> Result<Response<v1::ListModelsResponse>, Status> {
        let names = self.registry.names();
        let aliases = names.aliases.iter();
        Ok(Response::new(v1::ListModelsResponse {
            models: self.registry.all().iter().map(|model| described(model)).collect(),
            default_model: names.default_model.to_string(),
            aliases: aliases.map(|(alias, target)| (alias.clone(), target.to_string())).collect(),
        }))
    }

    async fn get_model(
        &self,
        request: Request<v1::GetModelRequest>,
    ) -> Result<Response<v1::GetModelResponse>, Status> {
        let found = request.extensions().get::<AskedModel>().cloned().unwrap_or_default();
        let asked = model_ref(&request.into_inner().model)?;
        let model = self.registry.find(asked.as_ref())?;
        found.set(&model.slot().name);
        Ok(Response::new(v1::GetModelResponse { model: Some(described(&model)) }))
    }

    async fn reload_model(
        &self,
        request: Request<v1::ReloadModelRequest>,
    ) -> Result<Response<v1::ReloadModelResponse>, Status> {
        let asked = model_ref(&request.into_inner().model)?;
        let reloaded = self.reloader.reload(asked.as_ref()).await?;
        let models = reloaded.into_iter().map(reloaded_to_wire).collect();
        Ok(Response::new(v1::ReloadModelResponse { models }))
    }
}

fn described(model: &Model) -> v1::Model {
    let label = model.slot().label.clone().unwrap_or_default();
    v1::Model { label, ..v1::Model::from(model.card()) }
}

fn reloaded_to_wire(reloaded: Reloaded) -> v1::ReloadedModel {
    v1::ReloadedModel {
        name: reloaded.slot.name,
        label: reloaded.slot.label.unwrap_or_default(),
        version: reloaded.version,
        previous_version: reloaded.previous_version.unwrap_or_default(),
    }
}

fn model_ref(text: &str) -> Result<Option<ModelRef>, ServiceError> {
    if text.is_empty() {
        return Ok(None);
    }
    let found = ModelRef::parse(text).ok_or_else(|| {
        let description = format!("is `{text}`; \"name\" or \"name@version\" is expected");
        ServiceError::Invalid(FieldViolation::new("model", description).into())
    })?;
    Ok(Some(found))
}
