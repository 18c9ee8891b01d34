use std::sync::Arc;

use protoguard_proto::v1::model_service_server::ModelService;
use protoguard_proto::{FieldViolation, ModelRef, v1};
use tonic::{Request, Response, Status};

use crate::ServiceError;
use crate::registry::Registry;

/// `protoguard.v1.ModelService`.
pub(crate) struct Models {
    pub(crate) registry: Arc<Registry>,
}

#[tonic::async_trait]
impl ModelService for Models {
    async fn list_models(
        &self,
        _request: Request<v1::ListModelsRequest>,
    ) -> Result<Response<v1::ListModelsResponse>, Status> {
        Ok(Response::new(v1::ListModelsResponse {
            models: self.registry.all().map(|model| v1::Model::from(model.card())).collect(),
            default_model: self.registry.default_model().to_owned(),
        }))
    }

    async fn get_model(
        &self,
        request: Request<v1::GetModelRequest>,
    ) -> Result<Response<v1::GetModelResponse>, Status> {
        let asked = model_ref(&request.into_inner().model)?;
        let model = self.registry.find(asked.as_ref())?;
        Ok(Response::new(v1::GetModelResponse { model: Some(v1::Model::from(model.card())) }))
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
