//! The Open Inference Protocol: the same models and the same queue, under other names.

use std::sync::Arc;

use futures_util::future::try_join_all;
use protoguard_core::ModelCard;
use protoguard_proto::oip::grpc_inference_service_server::GrpcInferenceService;
use protoguard_proto::oip::model_infer_response::InferOutputTensor;
use protoguard_proto::oip::model_metadata_response::TensorMetadata;
use protoguard_proto::oip::{self, DataType};
use protoguard_proto::{
    Bytes, ClipRequest, ClipSource, FRAMES, FieldViolation, INFERRED_CLIPS, InferOutput,
    InferRequest, Violations, inferred_model, v1,
};
use tonic::{Request, Response, Status};

use super::call::Call;
use super::checks::check_answers;
use super::scoring_service::Scoring;
use crate::error::ServiceError;
use crate::registry::model::Model;
use crate::transport::trace_context::TraceContext;

/// What stands for the implementation where the protocol asks for a platform.
const PLATFORM: &str = "protoguard";
/// A size that a request chooses.
const ANY: i64 = -1;

/// `inference.GRPCInferenceService`.
pub(crate) struct Inference(pub(crate) Scoring);

impl Inference {
    fn model(&self, name: &str, version: &str) -> Result<Arc<Model>, ServiceError> {
        let asked = inferred_model(name, version)?;
        self.0.0.registry.find(asked.as_ref())
    }

    /// The outputs that are to be answered, where the model has them and the clips allow them.
    fn check(
        &self,
        clips: &[ClipRequest],
        asked: Vec<InferOutput>,
    ) -> Result<Vec<InferOutput>, ServiceError> {
        let Some(clip) = clips.first() else { return Ok(Vec::new()) };
        let model = self.0.0.registry.find(clip.model.as_ref())?;
        let card = model.card();
        let frames = card.shape.frames();
        if let ClipSource::Raw(raw) = &clip.source
            && raw.count != frames
        {
            let description = format!("has clips of {} frames; {frames} are expected", raw.count);
            return Err(
                Violations::from(FieldViolation::new("inputs[0].shape", description)).into()
            );
        }
        let known = outputs_of(card, clip.scene.as_deref());
        if asked.is_empty() {
            return Ok(known.into_iter().filter(|output| !output.is_picture()).collect());
        }
        match asked.iter().find(|output| !known.contains(output)) {
            None => Ok(asked),
            Some(missing) => {
                let known: Vec<&str> = known.into_iter().map(InferOutput::name).collect();
                let description = format!(
                    "has `{}`, which model `{}` does not say; accepted are {}",
                    missing.name(),
                    card.name,
                    known.join(", ")
                );
                Err(Violations::from(FieldViolation::new("outputs", description)).into())
            }
        }
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for Inference {
    async fn server_live(
        &self,
        _: Request<oip::ServerLiveRequest>,
    ) -> Result<Response<oip::ServerLiveResponse>, Status> {
        Ok(Response::new(oip::ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<oip::ServerReadyRequest>,
    ) -> Result<Response<oip::ServerReadyResponse>, Status> {
        let context = &self.0.0;
        let all = context.registry.all();
        let ready = all.iter().all(|model| model.intake().check_ready().is_ok());
        let ready = ready && !context.draining.is_cancelled();
        Ok(Response::new(oip::ServerReadyResponse { ready }))
    }

    async fn model_ready(
        &self,
        request: Request<oip::ModelReadyRequest>,
    ) -> Result<Response<oip::ModelReadyResponse>, Status> {
        let oip::ModelReadyRequest { name, version } = request.into_inner();
        let found = self.model(&name, &version);
        let ready = found.is_ok_and(|model| model.intake().check_ready().is_ok());
        Ok(Response::new(oip::ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<oip::ServerMetadataRequest>,
    ) -> Result<Response<oip::ServerMetadataResponse>, Status> {
        Ok(Response::new(oip::ServerMetadataResponse {
            name: PLATFORM.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: vec!["model_configuration".to_owned()],
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<oip::ModelMetadataRequest>,
    ) -> Result<Response<oip::ModelMetadataResponse>, Status> {
        let oip::ModelMetadataRequest { name, version } = request.into_inner();
        let model = self.model(&name, &version)?;
        let card = model.card();
        let tensor = |name: &str, datatype: &str, dims: Vec<i64>| TensorMetadata {
            name: name.to_owned(),
            datatype: datatype.to_owned(),
            shape: [vec![ANY], dims].concat(),
        };
        let outputs = outputs_of(card, None);
        let output = |of: InferOutput| tensor(of.name(), datatype(of), dims(of, card.shape.side()));
        Ok(Response::new(oip::ModelMetadataResponse {
            name: card.name.clone(),
            versions: vec![card.version.clone()],
            platform: PLATFORM.to_owned(),
            inputs: vec![tensor(FRAMES, "UINT8", clip_dims(card))],
            outputs: outputs.into_iter().map(output).collect(),
        }))
    }

    async fn model_config(
        &self,
        request: Request<oip::ModelConfigRequest>,
    ) -> Result<Response<oip::ModelConfigResponse>, Status> {
        let oip::ModelConfigRequest { name, version } = request.into_inner();
        let model = self.model(&name, &version)?;
        let card = model.card();
        let input = oip::ModelInput {
            name: FRAMES.to_owned(),
            data_type: DataType::TypeUint8.into(),
            dims: clip_dims(card),
        };
        let output = |of: InferOutput| oip::ModelOutput {
            name: of.name().to_owned(),
            data_type: data_type(of).into(),
            dims: dims(of, card.shape.side()),
        };
        let config = oip::ModelConfig {
            name: card.name.clone(),
            platform: PLATFORM.to_owned(),
            max_batch_size: INFERRED_CLIPS as i32,
            input: vec![input],
            output: outputs_of(card, None).into_iter().map(output).collect(),
            backend: PLATFORM.to_owned(),
        };
        Ok(Response::new(oip::ModelConfigResponse { config: Some(config) }))
    }

    async fn model_infer(
        &self,
        request: Request<oip::ModelInferRequest>,
    ) -> Result<Response<oip::ModelInferResponse>, Status> {
        let call = Call::of(request.extensions());
        let trace = TraceContext::of(request.metadata());
        let request = InferRequest::try_from(request.into_inner()).map_err(ServiceError::from)?;
        let InferRequest { id, clips, outputs } = request;
        let outputs = self.check(&clips, outputs)?;
        check_answers(&self.0.0, &clips)?;
        let each =
            clips.into_iter().map(|clip| self.0.score_traced(clip, call.clone(), trace.clone()));
        let scored = try_join_all(each).await?;
        Ok(Response::new(response(id, &scored, &outputs)?))
    }
}

/// What a model has to say of a scene, pictures last.
fn outputs_of(card: &ModelCard, scene: Option<&str>) -> Vec<InferOutput> {
    let calibration = card.calibration(scene);
    let has = |output: &InferOutput| match output {
        InferOutput::FeatureDistance => card.memory_items > 0,
        InferOutput::Regularity | InferOutput::Anomalous => calibration.is_some(),
        InferOutput::Surprise => calibration.is_some_and(|of| of.detector.is_some()),
        InferOutput::Psnr | InferOutput::PredictedFrame | InferOutput::ErrorMap => true,
    };
    InferOutput::ALL.into_iter().filter(has).collect()
}

fn clip_dims(card: &ModelCard) -> Vec<i64> {
    vec![card.shape.frames() as i64, ANY, ANY, protoguard_core::CHANNELS as i64]
}

fn dims(output: InferOutput, side: usize) -> Vec<i64> {
    let side = side as i64;
    match output {
        InferOutput::PredictedFrame => vec![side, side, protoguard_core::CHANNELS as i64],
        InferOutput::ErrorMap => vec![side, side],
        _ => vec![1],
    }
}

fn datatype(output: InferOutput) -> &'static str {
    if output == InferOutput::Anomalous { "BOOL" } else { "FP32" }
}

fn data_type(output: InferOutput) -> DataType {
    if output == InferOutput::Anomalous { DataType::TypeBool } else { DataType::TypeFp32 }
}

fn response(
    id: String,
    scored: &[v1::ScoreClipResponse],
    outputs: &[InferOutput],
) -> Result<oip::ModelInferResponse, ServiceError> {
    let Some(first) = scored.first() else {
        return Err(ServiceError::Internal { step: "a tensor without clips" });
    };
    let picture = |output| picture(first, output).map_or(0, |image| image.height as usize);
    let tensor = |&of: &InferOutput| InferOutputTensor {
        name: of.name().to_owned(),
        datatype: datatype(of).to_owned(),
        shape: [vec![scored.len() as i64], dims(of, picture(of))].concat(),
        ..Default::default()
    };
    let values = |&of: &InferOutput| -> Bytes {
        scored.iter().flat_map(|clip| value(clip, of)).collect::<Vec<u8>>().into()
    };
    Ok(oip::ModelInferResponse {
        model_name: first.model.clone(),
        model_version: first.model_version.clone(),
        id,
        outputs: outputs.iter().map(tensor).collect(),
        raw_output_contents: outputs.iter().map(values).collect(),
        ..Default::default()
    })
}

fn picture(clip: &v1::ScoreClipResponse, output: InferOutput) -> Option<&v1::Image> {
    match output {
        InferOutput::PredictedFrame => clip.predicted_frame.as_ref(),
        InferOutput::ErrorMap => clip.error_map.as_ref(),
        _ => None,
    }
}

/// One clip's value of an output as it lies in a tensor.
fn value(clip: &v1::ScoreClipResponse, output: InferOutput) -> Vec<u8> {
    let number = |value: Option<f64>| {
        let value = value.map_or(f32::NAN, |value| value as f32);
        value.to_le_bytes().to_vec()
    };
    match output {
        InferOutput::Psnr => number(clip.psnr_db),
        InferOutput::FeatureDistance => number(clip.feature_distance),
        InferOutput::Regularity => number(clip.regularity),
        InferOutput::Surprise => number(clip.surprise),
        InferOutput::Anomalous => vec![u8::from(clip.anomalous.unwrap_or_default())],
        InferOutput::PredictedFrame | InferOutput::ErrorMap => {
            picture(clip, output).map(|image| image.data.to_vec()).unwrap_or_default()
        }
    }
}
