//! A server that answers from a script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protoguard_client::{Client, ClientError, ClientOptions, RetryPolicy};
use protoguard_proto::v1;
use protoguard_proto::v1::model_service_server::{ModelService, ModelServiceServer};
use protoguard_proto::v1::scoring_service_server::{ScoringService, ScoringServiceServer};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

/// The model's side in pixels.
pub(crate) const SIDE: u32 = 64;

/// What the server does with the next request.
pub(crate) enum Answer {
    Score,
    Refuse(Status),
    /// No answer while the caller waits.
    Silence,
}

#[derive(Clone, Default)]
pub(crate) struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    /// Announces each request.
    arrived: Arc<Notify>,
    /// The `grpc-timeout` of each request that came.
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
    /// The frame interval of each.
    pub(crate) intervals: Arc<Mutex<Vec<f64>>>,
}

#[tonic::async_trait]
impl ScoringService for Script {
    async fn score_clip(
        &self,
        request: Request<v1::ScoreClipRequest>,
    ) -> Result<Response<v1::ScoreClipResponse>, Status> {
        let timeout = request.metadata().get("grpc-timeout").map(|t| t.to_str().unwrap().into());
        self.seen.lock().unwrap().push(timeout.unwrap_or_default());
        self.intervals.lock().unwrap().push(request.get_ref().frame_interval_ms);
        self.arrived.notify_one();
        let answer = self.answers.lock().unwrap().pop_front();
        match answer {
            None | Some(Answer::Score) => Ok(Response::new(score(request.into_inner()))),
            Some(Answer::Refuse(status)) => Err(status),
            Some(Answer::Silence) => std::future::pending().await,
        }
    }

    async fn batch_score_clips(
        &self,
        _: Request<v1::BatchScoreClipsRequest>,
    ) -> Result<Response<v1::BatchScoreClipsResponse>, Status> {
        Err(Status::unimplemented("the script scores single clips"))
    }

    type ScoreStreamStream = tokio_stream::Empty<Result<v1::ScoreStreamResponse, Status>>;

    async fn score_stream(
        &self,
        _: Request<Streaming<v1::ScoreStreamRequest>>,
    ) -> Result<Response<Self::ScoreStreamStream>, Status> {
        Err(Status::unimplemented("the script scores single clips"))
    }
}

#[tonic::async_trait]
impl ModelService for Script {
    async fn list_models(
        &self,
        _: Request<v1::ListModelsRequest>,
    ) -> Result<Response<v1::ListModelsResponse>, Status> {
        let models = vec![model()];
        let default_model = "hall".to_owned();
        Ok(Response::new(v1::ListModelsResponse { models, default_model, ..Default::default() }))
    }

    async fn get_model(
        &self,
        request: Request<v1::GetModelRequest>,
    ) -> Result<Response<v1::GetModelResponse>, Status> {
        match request.into_inner().model.as_str() {
            "" | "hall" => Ok(Response::new(v1::GetModelResponse { model: Some(model()) })),
            "surprised" => Ok(Response::new(v1::GetModelResponse { model: Some(surprised()) })),
            "timed" => Ok(Response::new(v1::GetModelResponse {
                model: Some(v1::Model { frame_interval_ms: 100.0, ..model() }),
            })),
            "empty" => Ok(Response::new(v1::GetModelResponse { model: None })),
            other => Err(Status::not_found(format!("model is {other}; hall is expected"))),
        }
    }

    async fn reload_model(
        &self,
        _: Request<v1::ReloadModelRequest>,
    ) -> Result<Response<v1::ReloadModelResponse>, Status> {
        Err(Status::failed_precondition("the script has no files"))
    }
}

pub(crate) fn model() -> v1::Model {
    v1::Model { name: "hall".to_owned(), past_frames: 4, side: SIDE, ..Default::default() }
}

/// A model whose calibration has a detector: half of the sum is kept, and of sums from 1 on the
/// surprise is the sum itself.
pub(crate) fn surprised() -> v1::Model {
    let scale = 1.0 / std::f64::consts::LN_10;
    let normal =
        Some(v1::Distribution { knots: vec![0.0, 1.0], tail_share: 0.1, scale, shape: 0.0 });
    let part = |part: v1::Part| v1::DetectorPart {
        part: part.into(),
        weight: 1.0,
        trust: 1.0,
        slope: 0.0,
        normal: normal.clone(),
    };
    let detector = v1::Detector {
        parts: vec![part(v1::Part::LargestError), part(v1::Part::Speed)],
        knee: 2.0,
        keep: 0.5,
        max_slope: 0.0,
        instant: normal.clone(),
        smoothed: normal.clone(),
        alarms: None,
    };
    let calibration = v1::Calibration {
        id: "default".to_owned(),
        psnr_db: Some(v1::Bounds { low: 20.0, high: 30.0 }),
        detector: Some(detector),
        ..Default::default()
    };
    v1::Model { name: "surprised".to_owned(), calibrations: vec![calibration], ..model() }
}

/// The sum of a frame's surprises: 1, but 5 from frame 10 to frame 14.
pub(crate) fn surprise_sum(frame: usize) -> f64 {
    if (10..15).contains(&frame) { 5.0 } else { 1.0 }
}

/// Adds what a detector says.
fn surprise(response: &mut v1::ScoreClipResponse, sum: f64) {
    response.surprise = Some(sum);
    response.surprise_sum = Some(sum);
    response.surprise_threshold = Some(2.0);
    response.anomalous = Some(sum > 2.0);
    let part =
        |part: v1::Part, surprise| v1::PartSurprise { part: part.into(), value: 1.0, surprise };
    response.parts =
        vec![part(v1::Part::LargestError, 0.2 * sum), part(v1::Part::Speed, 0.8 * sum)];
    response.region =
        Some(v1::Region { left: 0.25, top: 0.5, right: 0.5, bottom: 0.75, share: 0.9 });
}

/// The regularity of a frame: 0.9, but 0.1 from frame 10 to frame 14, and a little by itself.
pub(crate) fn regularity(frame: usize) -> f64 {
    let level = if (10..15).contains(&frame) { 0.1 } else { 0.9 };
    level + 0.001 * frame as f64
}

/// Scores by the frame that the request names in its id, as the command does.
fn score(request: v1::ScoreClipRequest) -> v1::ScoreClipResponse {
    let frame = request.request_id.rsplit('/').next().and_then(|frame| frame.parse().ok());
    let regularity = regularity(frame.unwrap_or(0));
    let mut response = v1::ScoreClipResponse {
        psnr_db: Some(20.0 + 10.0 * regularity),
        feature_distance: Some(1.0 - 0.5 * regularity),
        regularity: Some(regularity),
        anomalous: Some(regularity < 0.5),
        regularity_threshold: Some(0.5),
        timings: Some(v1::Timings { queue_us: 10, decode_us: 20, compute_us: 3000, batch_size: 2 }),
        request_id: request.request_id.clone(),
        ..Default::default()
    };
    if request.model == "surprised" {
        surprise(&mut response, surprise_sum(frame.unwrap_or(0)));
    }
    if request.view() == v1::View::Full {
        assert_eq!(request.image_encoding(), v1::ImageEncoding::RawF32);
        response.predicted_frame = Some(ramp(3, 0.0, 1.0));
        response.rgb_differences = vec![ramp(3, -2.0, 2.0); 4];
        response.error_map = Some(ramp(1, 0.0, 0.25));
    }
    response
}

/// A picture whose values rise from `low` to `high` from left to right.
fn ramp(channels: u32, low: f32, high: f32) -> v1::Image {
    let row = (0..SIDE * channels).map(|i| (i / channels) as f32 / (SIDE - 1) as f32);
    let row: Vec<u8> = row.flat_map(|share| (low + (high - low) * share).to_le_bytes()).collect();
    v1::Image {
        data: row.repeat(SIDE as usize).into(),
        encoding: v1::ImageEncoding::RawF32.into(),
        height: SIDE,
        width: SIDE,
        channels,
    }
}

/// A server on a free port, with its script and a client's options that try again quickly.
pub(crate) struct Fixture {
    pub(crate) address: String,
    pub(crate) script: Script,
    pub(crate) options: ClientOptions,
}

impl Fixture {
    pub(crate) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let script = Script::default();
        script.answers.lock().unwrap().extend(answers);
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_not_serving::<ScoringServiceServer<Script>>().await;
        let limit = 64 << 20;
        let scoring = ScoringServiceServer::new(script.clone()).max_decoding_message_size(limit);
        let serving = tonic::transport::Server::builder()
            .add_service(scoring)
            .add_service(ModelServiceServer::new(script.clone()))
            .add_service(health_service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
        let retry = RetryPolicy {
            max_attempts: 4,
            initial_backoff: Duration::from_millis(5),
            max_backoff: Duration::from_millis(20),
        };
        let options =
            ClientOptions { retry, deadline: Duration::from_secs(20), ..Default::default() };
        Self { address, script, options }
    }

    pub(crate) async fn score(&self) -> Result<v1::ScoreClipResponse, ClientError> {
        let client = Client::connect(&self.address, self.options.clone()).await?;
        client
            .score_clip(v1::ScoreClipRequest { request_id: "7".into(), ..Default::default() })
            .await
    }

    pub(crate) fn seen(&self) -> usize {
        self.script.seen.lock().unwrap().len()
    }

    /// Waits for the server to have seen `count` requests.
    pub(crate) async fn until_seen(&self, count: usize) {
        while self.seen() < count {
            self.script.arrived.notified().await;
        }
    }
}
