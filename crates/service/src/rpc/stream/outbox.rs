//! Answers on their way to their reader, bounded in number and in bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use prost::Message as _;
use protoguard_proto::v1;
use protoguard_proto::v1::score_stream_response::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::error::ServiceError;

/// Answers that may wait for their reader.
const WAITING_ANSWERS: usize = 512;
/// KiB that they may have together, begun ones counted in full; a larger one waits alone.
const WAITING_KIB: u32 = 4096;
/// A reader that takes nothing for so long is none, ...
const PATIENCE: Duration = Duration::from_secs(30);
/// ... and for so long where the server is stopping.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// An answer, and the room that it takes until it is read.
struct Waiting {
    answer: v1::ScoreStreamResponse,
    _room: OwnedSemaphorePermit,
}

/// The side on which answers go in.
#[derive(Clone)]
pub(super) struct Outbox {
    answers: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

/// What a caller reads: answers, and then how the stream ended.
pub(crate) struct StreamAnswers {
    answers: mpsc::Receiver<Waiting>,
    end: oneshot::Receiver<Result<(), Status>>,
}

/// An outbox, and where its answers come out until the stream has ended so.
pub(super) fn outbox(end: oneshot::Receiver<Result<(), Status>>) -> (Outbox, StreamAnswers) {
    let (sender, answers) = mpsc::channel(WAITING_ANSWERS);
    let room = Arc::new(Semaphore::new(WAITING_KIB as usize));
    (Outbox { answers: sender, room }, StreamAnswers { answers, end })
}

impl Outbox {
    /// Puts an answer where its reader finds it, and does not wait.
    ///
    /// # Errors
    /// When there is no room.
    pub(super) fn try_send(&self, message: Message) -> Result<(), ServiceError> {
        let answer = v1::ScoreStreamResponse { message: Some(message) };
        let room = Arc::clone(&self.room).try_acquire_many_owned(kib(&answer));
        let room = room.map_err(|_| self.unread())?;
        match self.answers.try_send(Waiting { answer, _room: room }) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(self.unread()),
            // A caller that is gone is noticed elsewhere.
            _ => Ok(()),
        }
    }

    /// Puts an answer where its reader finds it, once there is room.
    ///
    /// # Errors
    /// When the reader makes none for long, or for some seconds once the server is stopping.
    pub(super) async fn send(
        &self,
        message: Message,
        draining: &CancellationToken,
    ) -> Result<(), ServiceError> {
        let answer = v1::ScoreStreamResponse { message: Some(message) };
        let sent = async {
            let room = Arc::clone(&self.room).acquire_many_owned(kib(&answer)).await;
            // The semaphore is never closed, and a caller that is gone is noticed elsewhere.
            if let Ok(room) = room {
                let _ = self.answers.send(Waiting { answer, _room: room }).await;
            }
        };
        let stopping = async {
            draining.cancelled().await;
            sleep(LAST_PATIENCE).await;
        };
        tokio::select! {
            biased;
            sent = timeout(PATIENCE, sent) => sent.map_err(|_| self.unread()),
            () = stopping => Err(self.unread()),
        }
    }

    /// Resolves when the caller is gone.
    pub(super) async fn closed(&self) {
        self.answers.closed().await;
    }

    fn unread(&self) -> ServiceError {
        ServiceError::AnswersUnread { waiting: WAITING_ANSWERS - self.answers.capacity() }
    }
}

/// The room that an answer takes.
fn kib(answer: &v1::ScoreStreamResponse) -> u32 {
    let kib = u32::try_from(answer.encoded_len().div_ceil(1024)).unwrap_or(WAITING_KIB);
    kib.clamp(1, WAITING_KIB)
}

impl Stream for StreamAnswers {
    type Item = Result<v1::ScoreStreamResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.answers.poll_recv(context) {
            Poll::Ready(Some(waiting)) => Poll::Ready(Some(Ok(waiting.answer))),
            Poll::Ready(None) if self.end.is_terminated() => Poll::Ready(None),
            Poll::Ready(None) => Pin::new(&mut self.end).poll(context).map(|end| match end {
                Ok(end) => end.err().map(Err),
                // The stream's task panicked.
                Err(_) => Some(Err(ServiceError::Internal { step: "a stream" }.into())),
            }),
            Poll::Pending => Poll::Pending,
        }
    }
}
