//! A camera that streams to a served service.

use protoguard_core::{AlarmFrequency, FrameInterval, ModelCard};
use protoguard_proto::v1;
use protoguard_proto::v1::score_stream_request::Message as Asked;
use protoguard_proto::v1::score_stream_response::Message;
use protoguard_proto::v1::scoring_service_client::ScoringServiceClient;
use protoguard_proto::v1::stream_frame::Picture;
use protoguard_service::testing::{FakeFactory, detector};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use crate::bench::{Served, bounded};

/// Milliseconds between the frames of [`street`].
pub(crate) const INTERVAL: i64 = 100;

/// A model of ten frames a second whose calibration raises alarms.
pub(crate) fn street() -> FakeFactory {
    FakeFactory::new("hall").with_card(knows_time)
}

/// Gives a card an interval, and its calibrations a detector that has counted alarms: at one an
/// hour, every frame may be unusual that differs from the one before by more than some levels.
pub(crate) fn knows_time(card: &mut ModelCard) {
    card.frame_interval = Some(interval(INTERVAL as f64));
    for calibration in &mut card.calibrations {
        let alarms = AlarmFrequency { per_unusual_frame: 0.01, alarms: 20, frames: 200_000 };
        calibration.detector =
            Some(protoguard_core::Detector { alarms: Some(alarms), ..detector() });
    }
}

pub(crate) fn interval(milliseconds: f64) -> FrameInterval {
    milliseconds.try_into().unwrap()
}

/// One call of ScoreStream.
pub(crate) struct Camera {
    asks: Option<mpsc::Sender<v1::ScoreStreamRequest>>,
    answers: Streaming<v1::ScoreStreamResponse>,
    /// The id and the time of the next frame.
    pub(crate) next: i64,
}

pub(crate) fn named(camera: &str) -> v1::StreamOpening {
    v1::StreamOpening { camera: camera.to_owned(), ..Default::default() }
}

pub(crate) fn lossless() -> v1::StreamOpening {
    v1::StreamOpening { mode: v1::StreamMode::Lossless.into(), ..named("door") }
}

/// A gray frame of 16 x 16 pixels.
pub(crate) fn gray(value: u8) -> Picture {
    gray_of(value, 16, 16)
}

pub(crate) fn gray_of(value: u8, height: u32, width: u32) -> Picture {
    Picture::Raw(v1::RawFrame {
        data: vec![value; (height * width) as usize].into(),
        height,
        width,
        pixel_format: v1::PixelFormat::GrayU8.into(),
    })
}

pub(crate) fn asked(message: Asked) -> v1::ScoreStreamRequest {
    v1::ScoreStreamRequest { message: Some(message) }
}

impl Camera {
    /// Opens a stream and reads what it rests on.
    pub(crate) async fn open(
        served: &Served,
        opening: v1::StreamOpening,
    ) -> (Self, v1::StreamOpened) {
        let mut camera = Self::silent(served.scoring().await).await;
        camera.ask(Asked::Opening(opening)).await;
        match camera.answer().await {
            Ok(Message::Opened(opened)) => (camera, opened),
            other => panic!("{other:?}"),
        }
    }

    /// How the server ends a stream that is opened so.
    pub(crate) async fn refused(served: &Served, opening: v1::StreamOpening) -> Status {
        let mut camera = Self::silent(served.scoring().await).await;
        camera.ask(Asked::Opening(opening)).await;
        camera.answer().await.unwrap_err()
    }

    /// A call that has said nothing yet.
    pub(crate) async fn silent(client: ScoringServiceClient<Channel>) -> Self {
        Self::calling(client, |_| ()).await
    }

    /// A call whose request was changed.
    pub(crate) async fn calling(
        mut client: ScoringServiceClient<Channel>,
        change: impl FnOnce(&mut Request<ReceiverStream<v1::ScoreStreamRequest>>),
    ) -> Self {
        let (asks, stream) = mpsc::channel(4);
        let mut request = Request::new(ReceiverStream::new(stream));
        change(&mut request);
        let answers = bounded(client.score_stream(request)).await.unwrap().into_inner();
        Self { asks: Some(asks), answers, next: 0 }
    }

    pub(crate) async fn ask(&mut self, message: Asked) {
        bounded(self.asks.as_ref().unwrap().send(asked(message))).await.unwrap();
    }

    /// Where frames go in.
    pub(crate) fn sender(&self) -> mpsc::Sender<v1::ScoreStreamRequest> {
        self.asks.clone().unwrap()
    }

    /// Sends a frame of this time, whose id is its time in milliseconds.
    pub(crate) async fn send_at(&mut self, milliseconds: i64, picture: Option<Picture>) {
        self.next = milliseconds + INTERVAL;
        let (id, capture_time_us) = (milliseconds as u64, 1000 * milliseconds);
        self.ask(Asked::Frame(v1::StreamFrame { id, capture_time_us, picture })).await;
    }

    /// Sends the next frame.
    pub(crate) async fn send(&mut self, picture: Picture) {
        self.send_at(self.next, Some(picture)).await;
    }

    /// Sends the next frame and reads up to its answer.
    pub(crate) async fn show(&mut self, picture: Picture) -> Answered {
        self.send(picture).await;
        self.answered().await
    }

    /// Shows as many frames as fill the window.
    pub(crate) async fn fill(&mut self, value: u8) {
        for _ in 0..4 {
            let answered = self.show(gray(value)).await;
            assert_eq!(answered.frame.outcome(), v1::FrameOutcome::WarmingUp);
        }
    }

    /// The next message, or how the stream ended.
    pub(crate) async fn answer(&mut self) -> Result<Message, Status> {
        let answer = bounded(self.answers.message()).await?;
        let ended = || Status::ok("the stream has ended");
        answer.and_then(|answer| answer.message).ok_or_else(ended)
    }

    /// What comes up to the next answer of a frame.
    pub(crate) async fn answered(&mut self) -> Answered {
        let mut before = Vec::new();
        loop {
            match self.answer().await.unwrap() {
                Message::Frame(frame) => return Answered { before, frame },
                other => before.push(other),
            }
        }
    }

    /// Sends nothing more; what comes until the stream ends, and how it ends.
    pub(crate) async fn end(mut self) -> (Vec<Message>, Status) {
        self.asks = None;
        self.rest().await
    }

    /// What comes until the stream ends, and how it ends.
    pub(crate) async fn rest(&mut self) -> (Vec<Message>, Status) {
        let mut messages = Vec::new();
        loop {
            match self.answer().await {
                Ok(message) => messages.push(message),
                Err(status) => return (messages, status),
            }
        }
    }
}

/// A frame's answer.
#[derive(Debug)]
pub(crate) struct Answered {
    /// What came since the answer before.
    pub(crate) before: Vec<Message>,
    pub(crate) frame: v1::FrameAnswer,
}

impl Answered {
    pub(crate) fn alarm(&self) -> Option<&v1::AlarmEvent> {
        self.before.iter().find_map(|message| match message {
            Message::Alarm(event) => Some(event),
            _ => None,
        })
    }
}
