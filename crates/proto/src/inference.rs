//! What a ModelInfer may say: clips as a tensor.

use prost::bytes::Bytes;
use protoguard_core::{CHANNELS, Outputs};

use crate::model::ModelRef;
use crate::oip::infer_parameter::ParameterChoice;
use crate::oip::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use crate::oip::{InferTensorContents, ModelInferRequest};
use crate::request::{ClipRequest, ClipSource, ImageEncoding, PixelFormat, RawClip};
use crate::violation::{FieldViolation, Violations};

/// The name of the only input.
pub const FRAMES: &str = "frames";
/// Clips of a request, at most.
pub const INFERRED_CLIPS: usize = 64;

/// An output of a model, by its name in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InferOutput {
    /// `psnr_db`, FP32.
    Psnr,
    /// `feature_distance`, FP32.
    FeatureDistance,
    /// `regularity`, FP32.
    Regularity,
    /// `surprise`, FP32.
    Surprise,
    /// `anomalous`, BOOL.
    Anomalous,
    /// `predicted_frame`, FP32 in [0, 1], height × width × 3.
    PredictedFrame,
    /// `error_map`, FP32, height × width.
    ErrorMap,
}

impl InferOutput {
    /// Every output; the pictures come last.
    pub const ALL: [Self; 7] = [
        Self::Psnr,
        Self::FeatureDistance,
        Self::Regularity,
        Self::Surprise,
        Self::Anomalous,
        Self::PredictedFrame,
        Self::ErrorMap,
    ];

    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Psnr => "psnr_db",
            Self::FeatureDistance => "feature_distance",
            Self::Regularity => "regularity",
            Self::Surprise => "surprise",
            Self::Anomalous => "anomalous",
            Self::PredictedFrame => "predicted_frame",
            Self::ErrorMap => "error_map",
        }
    }

    /// Whether it is a picture, which only comes where it is named.
    pub fn is_picture(self) -> bool {
        matches!(self, Self::PredictedFrame | Self::ErrorMap)
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|output| output.name() == name)
    }
}

/// A `ModelInferRequest` whose fields agree with each other.
#[derive(Clone, Debug, PartialEq)]
pub struct InferRequest {
    /// As it came.
    pub id: String,
    /// One a clip, in order.
    pub clips: Vec<ClipRequest>,
    /// In the order in which they are to be answered; empty for every score that there is.
    pub outputs: Vec<InferOutput>,
}

impl TryFrom<ModelInferRequest> for InferRequest {
    type Error = Violations;

    fn try_from(request: ModelInferRequest) -> Result<Self, Violations> {
        let model = model(&request.model_name, &request.model_version)?;
        let scene = scene(&request)?;
        let outputs = outputs(&request.outputs)?;
        let [input] = <[InferInputTensor; 1]>::try_from(request.inputs).map_err(|inputs| {
            let description = format!("has {} tensors; one, `{FRAMES}`, is expected", inputs.len());
            FieldViolation::new("inputs", description)
        })?;
        let tensor = Tensor::of(input, request.raw_input_contents)?;
        let wants = |output| outputs.contains(&output);
        let pictures = Outputs {
            predicted_frame: wants(InferOutput::PredictedFrame),
            rgb_difference: false,
            error_map: wants(InferOutput::ErrorMap),
        };
        let clip = |raw| ClipRequest {
            model: model.clone(),
            scene: scene.clone(),
            request_id: request.id.clone(),
            source: ClipSource::Raw(raw),
            outputs: pictures,
            listed_outputs: pictures,
            image_encoding: ImageEncoding::RawF32,
            frame_interval: None,
        };
        let clips = tensor.clips().into_iter().map(clip).collect();
        Ok(Self { id: request.id, clips, outputs })
    }
}

/// The model of a name and a version, of which either may be empty.
///
/// # Errors
/// When there is a version of no name.
pub fn model(name: &str, version: &str) -> Result<Option<ModelRef>, Violations> {
    let version = (!version.is_empty()).then(|| version.to_owned());
    match (name, &version) {
        ("", None) => Ok(None),
        ("", Some(found)) => {
            let description = format!("is `{found}` without a model's name; both are expected");
            Err(FieldViolation::new("model_version", description).into())
        }
        _ => Ok(Some(ModelRef { name: name.to_owned(), version })),
    }
}

fn scene(request: &ModelInferRequest) -> Result<Option<String>, Violations> {
    let Some(parameter) = request.parameters.get("scene") else { return Ok(None) };
    match &parameter.parameter_choice {
        Some(ParameterChoice::StringParam(scene)) => Ok((!scene.is_empty()).then(|| scene.clone())),
        _ => {
            let description = "is no string; the name of a scene is expected";
            Err(FieldViolation::new("parameters.scene", description).into())
        }
    }
}

fn outputs(asked: &[InferRequestedOutputTensor]) -> Result<Vec<InferOutput>, Violations> {
    let known = |(index, asked): (usize, &InferRequestedOutputTensor)| {
        InferOutput::named(&asked.name).ok_or_else(|| {
            let names = InferOutput::ALL.map(InferOutput::name).join(", ");
            let description = format!("is `{}`; accepted are {names}", asked.name);
            Violations::from(FieldViolation::new(format!("outputs[{index}].name"), description))
        })
    };
    let outputs: Vec<InferOutput> =
        asked.iter().enumerate().map(known).collect::<Result<_, _>>()?;
    for (index, output) in outputs.iter().enumerate() {
        if outputs[..index].contains(output) {
            let description = format!("is `{}` again; each is expected once", output.name());
            return Err(FieldViolation::new(format!("outputs[{index}].name"), description).into());
        }
    }
    Ok(outputs)
}

/// The input: clips × frames × height × width × channels.
struct Tensor {
    data: Bytes,
    pixel_format: PixelFormat,
    shape: [usize; 4],
}

impl Tensor {
    fn of(input: InferInputTensor, raw: Vec<Bytes>) -> Result<Self, Violations> {
        let wrong = |field: &str, description: String| {
            Violations::from(FieldViolation::new(format!("inputs[0].{field}"), description))
        };
        if input.name != FRAMES {
            return Err(wrong("name", format!("is `{}`; `{FRAMES}` is expected", input.name)));
        }
        let pixel_format = match input.datatype.as_str() {
            "UINT8" => PixelFormat::RgbU8,
            "FP32" => PixelFormat::RgbF32,
            found => {
                return Err(wrong("datatype", format!("is {found}; UINT8 or FP32 is expected")));
            }
        };
        let shape = shape(&input.shape).ok_or_else(|| {
            let description = format!(
                "is {:?}; clips (1 to {INFERRED_CLIPS}) x frames x height x width x {CHANNELS} is \
                 expected",
                input.shape
            );
            wrong("shape", description)
        })?;
        let data = data(input.contents, raw, pixel_format)?;
        // 64 clips of 2³² frames of 2⁶⁴ pixels of 12 bytes fit 128 bits.
        let sizes = shape.iter().map(|&size| size as u128);
        let bytes = (CHANNELS * pixel_format.value_bytes()) as u128;
        let expected = sizes.fold(bytes, |product, size| product.saturating_mul(size));
        if data.len() as u128 != expected {
            let description = format!("has {} bytes; {expected} are expected", data.len());
            return Err(FieldViolation::new("raw_input_contents[0]", description).into());
        }
        Ok(Self { data, pixel_format, shape })
    }

    fn clips(&self) -> Vec<RawClip> {
        let [clips, count, height, width] = self.shape;
        let bytes = self.data.len() / clips;
        let clip = |at: usize| RawClip {
            data: self.data.slice(at * bytes..(at + 1) * bytes),
            height,
            width,
            count,
            pixel_format: self.pixel_format,
        };
        (0..clips).map(clip).collect()
    }
}

/// A shape of five dimensions, of which the last is the channels'.
fn shape(found: &[i64]) -> Option<[usize; 4]> {
    let [sizes @ .., channels] = <[i64; 5]>::try_from(found).ok()?;
    let size = |size: i64| u32::try_from(size).ok().filter(|&size| size > 0).map(|it| it as usize);
    let [clips, frames, height, width] = sizes.map(size);
    let clips = clips.filter(|&clips| clips <= INFERRED_CLIPS)?;
    (channels == CHANNELS as i64).then_some([clips, frames?, height?, width?])
}

/// The values as bytes, however they were sent.
fn data(
    contents: Option<InferTensorContents>,
    mut raw: Vec<Bytes>,
    pixel_format: PixelFormat,
) -> Result<Bytes, Violations> {
    let contents = contents.unwrap_or_default();
    match (raw.len(), pixel_format) {
        (1, _) => Ok(raw.remove(0)),
        (0, PixelFormat::RgbF32) => {
            let values = contents.fp32_contents.iter();
            Ok(values.flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into())
        }
        (0, _) => {
            let values = contents.uint_contents.iter().map(|&value| u8::try_from(value));
            values.collect::<Result<Vec<u8>, _>>().map(Bytes::from).map_err(|_| {
                let description = "has a value above 255; 8 bits are expected for UINT8";
                FieldViolation::new("inputs[0].contents.uint_contents", description).into()
            })
        }
        (found, _) => {
            let description = format!("has {found} tensors; one is expected");
            Err(FieldViolation::new("raw_input_contents", description).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oip::InferParameter;

    fn input(datatype: &str, shape: &[i64]) -> InferInputTensor {
        InferInputTensor {
            name: FRAMES.to_owned(),
            datatype: datatype.to_owned(),
            shape: shape.to_vec(),
            ..Default::default()
        }
    }

    fn request(input: InferInputTensor, raw: Vec<Bytes>) -> ModelInferRequest {
        ModelInferRequest { inputs: vec![input], raw_input_contents: raw, ..Default::default() }
    }

    fn message(request: ModelInferRequest) -> String {
        InferRequest::try_from(request).unwrap_err().to_string()
    }

    fn raw_of(clip: &ClipRequest) -> &RawClip {
        match &clip.source {
            ClipSource::Raw(raw) => raw,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_tensor_is_cut_into_its_clips() {
        let values: Vec<u8> = (0..2 * 2 * 2 * 3).collect();
        let mut asked = request(input("UINT8", &[2, 2, 1, 2, 3]), vec![values.into()]);
        let scene = Some(ParameterChoice::StringParam("gate".to_owned()));
        asked.parameters.insert("scene".to_owned(), InferParameter { parameter_choice: scene });
        let read = InferRequest::try_from(asked).unwrap();
        assert_eq!(read.clips.len(), 2);
        let second = raw_of(&read.clips[1]);
        assert_eq!((second.count, second.height, second.width), (2, 1, 2));
        assert_eq!(second.data[..], (12..24).collect::<Vec<u8>>());
        assert_eq!(read.clips[0].scene.as_deref(), Some("gate"));
        assert_eq!(read.outputs, []);
        assert_eq!(read.clips[0].outputs, Outputs::NONE);
    }

    #[test]
    fn typed_contents_are_the_same_as_raw_ones() {
        let mut bytes = input("UINT8", &[1, 1, 1, 1, 3]);
        let uint_contents = vec![0, 7, 255];
        bytes.contents = Some(InferTensorContents { uint_contents, ..Default::default() });
        let read = InferRequest::try_from(request(bytes.clone(), Vec::new())).unwrap();
        assert_eq!(raw_of(&read.clips[0]).data[..], [0, 7, 255]);
        bytes.contents.as_mut().unwrap().uint_contents[1] = 256;
        assert_eq!(
            message(request(bytes, Vec::new())),
            "inputs[0].contents.uint_contents has a value above 255; 8 bits are expected for UINT8"
        );
        let mut floats = input("FP32", &[1, 1, 1, 1, 3]);
        let fp32_contents = vec![0.0, 0.5, 1.0];
        floats.contents = Some(InferTensorContents { fp32_contents, ..Default::default() });
        let read = InferRequest::try_from(request(floats, Vec::new())).unwrap();
        let expected: Vec<u8> = [0.0f32, 0.5, 1.0].iter().flat_map(|it| it.to_le_bytes()).collect();
        assert_eq!(raw_of(&read.clips[0]).data[..], expected);
    }

    #[test]
    fn what_is_no_tensor_of_clips_is_named() {
        let bytes = |count: usize| vec![Bytes::from(vec![0; count])];
        let wrong = [
            (input("INT8", &[1, 1, 1, 1, 3]), "inputs[0].datatype is INT8"),
            (input("UINT8", &[1, 1, 1, 1, 4]), "inputs[0].shape is [1, 1, 1, 1, 4]; clips"),
            (input("UINT8", &[65, 1, 1, 1, 3]), "inputs[0].shape is [65"),
            (input("UINT8", &[1, -1, 1, 1, 3]), "inputs[0].shape is [1, -1"),
            (input("UINT8", &[1, 1, 1, 3]), "inputs[0].shape is [1, 1, 1, 3]"),
            (input("UINT8", &[1, 1, 1, 2, 3]), "raw_input_contents[0] has 3 bytes; 6 are expected"),
            (
                input("UINT8", &[64, 4_294_967_295, 4_294_967_295, 4_294_967_295, 3]),
                "raw_input_contents[0] has 3 bytes; 152118",
            ),
        ];
        for (input, expected) in wrong {
            let found = message(request(input, bytes(3)));
            assert!(found.starts_with(expected), "{found}");
        }
        let two = [bytes(3), bytes(3)].concat();
        let twice = message(request(input("UINT8", &[1, 1, 1, 1, 3]), two));
        assert_eq!(twice, "raw_input_contents has 2 tensors; one is expected");
        let outputs =
            vec![InferRequestedOutputTensor { name: "score".to_owned(), ..Default::default() }];
        let asked =
            ModelInferRequest { outputs, ..request(input("UINT8", &[1, 1, 1, 1, 3]), bytes(3)) };
        assert!(message(asked.clone()).starts_with("outputs[0].name is `score`; accepted are"));
        let twice =
            |name: &str| InferRequestedOutputTensor { name: name.to_owned(), ..Default::default() };
        let asked = ModelInferRequest { outputs: vec![twice("psnr_db"); 2], ..asked };
        assert_eq!(message(asked), "outputs[1].name is `psnr_db` again; each is expected once");
    }
}
