use protoguard_proto::v1;
use protoguard_proto::v1::score_stream_request::Message as Asked;
use protoguard_proto::v1::score_stream_response::Message;
use protoguard_proto::v1::scoring_service_client::ScoringServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::{Client, ClientError};

/// Frames that may wait for HTTP/2 to take them.
const AHEAD: usize = 4;

/// One call of ScoreStream: frames of a camera in, their answers out.
#[derive(Debug)]
pub struct CameraStream {
    /// Where frames go in.
    pub frames: StreamFrames,
    /// Where answers come out; dropping it ends the call.
    pub answers: StreamAnswers,
}

/// The way in of a stream.
#[derive(Debug)]
pub struct StreamFrames {
    /// Absent once everything is sent.
    sender: Option<mpsc::Sender<v1::ScoreStreamRequest>>,
}

/// The way out of a stream.
#[derive(Debug)]
pub struct StreamAnswers {
    address: String,
    answers: Streaming<v1::ScoreStreamResponse>,
}

/// The right to send one frame.
#[derive(Debug)]
pub struct FrameSlot<'a>(mpsc::Permit<'a, v1::ScoreStreamRequest>);

impl FrameSlot<'_> {
    /// Sends it.
    pub fn send(self, frame: v1::StreamFrame) {
        self.0.send(v1::ScoreStreamRequest { message: Some(Asked::Frame(frame)) });
    }
}

impl Client {
    /// Begins to stream a camera. There is no deadline, and nothing is tried again: what a stream
    /// that ended can be resumed with comes as its last message.
    ///
    /// # Errors
    /// When the server does not take the call; an opening that it refuses is the first answer.
    pub async fn stream(&self, opening: v1::StreamOpening) -> Result<CameraStream, ClientError> {
        let (frames, requests) = mpsc::channel(AHEAD);
        let opening = v1::ScoreStreamRequest { message: Some(Asked::Opening(opening)) };
        // The channel is new, and both its ends are here.
        let _ = frames.try_send(opening);
        let limit = self.max_message_bytes();
        let mut scoring = ScoringServiceClient::new(self.channel())
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit);
        let address = self.address().to_owned();
        let answered = scoring.score_stream(ReceiverStream::new(requests)).await;
        let answers = answered.map_err(|status| ClientError::from_status(&address, &status))?;
        Ok(CameraStream {
            frames: StreamFrames { sender: Some(frames) },
            answers: StreamAnswers { address, answers: answers.into_inner() },
        })
    }
}

impl StreamFrames {
    /// Waits until a frame can be sent; nothing where none can be any more.
    pub async fn slot(&self) -> Option<FrameSlot<'_>> {
        self.sender.as_ref()?.reserve().await.ok().map(FrameSlot)
    }

    /// Says that no frame follows.
    pub fn finish(&mut self) {
        self.sender = None;
    }
}

impl StreamAnswers {
    /// The next answer; nothing where the stream has ended well.
    ///
    /// # Errors
    /// When the server ends the stream with an error, or is gone.
    pub async fn next(&mut self) -> Result<Option<Message>, ClientError> {
        let answer = self.answers.message().await;
        let answer = answer.map_err(|status| ClientError::from_status(&self.address, &status))?;
        answer
            .map(|answer| {
                let address = self.address.clone();
                answer.message.ok_or(ClientError::Incomplete { address, field: "message" })
            })
            .transpose()
    }
}
