//! Bounds on a request's messages while they arrive: on its time, on its size, and on the bytes of
//! all messages that arrive at once.
//!
//! A caller that sends half a message and then nothing, alive and answering pings, would hold its
//! stream and what it has sent for ever. Bytes are gathered here until the body ends, and only then
//! shown to tonic, so that no caller makes a message wait in decompressed form, which is not
//! counted. Of a call that sends many messages each is gathered and shown by itself, and between two
//! of them there may be any time. Nothing is received before a method asks for it. Reflection, whose
//! messages are small, is exempt.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Frame};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::Request;

use super::SCORE_STREAM;
use super::byte_budget::{ByteBudget, Holding};
use super::limits::MAX_FRAME_BYTES;
use crate::error::ServiceError;

/// What the paths of reflection begin with.
const REFLECTION: &str = "/grpc.reflection.";
/// gRPC's prefix of a message: whether it is compressed, and its length in four bytes.
const PREFIX_BYTES: usize = 5;
/// Messages of so many bytes are not counted once they were shown: every stream has some.
const SHORT: usize = 256 << 10;
/// A piece of so many bytes is kept as it came. A smaller one is copied, because it may be a sliver
/// that keeps the whole buffer it was read into.
const WHOLE_PIECE: usize = MAX_FRAME_BYTES as usize / 2;

/// The bounds, and how what breaks one is refused.
#[derive(Clone, Debug)]
pub(crate) struct Receiving {
    pub(crate) timeout: Duration,
    pub(crate) max_message_bytes: usize,
    pub(crate) budget: Arc<ByteBudget>,
    /// The table of errors, which is `rpc`'s.
    pub(crate) status: fn(ServiceError) -> Status,
}

impl Receiving {
    /// The same request, whose messages are received within the bounds.
    pub(crate) fn bounded(&self, request: Request<Body>) -> Request<Body> {
        let path = request.uri().path();
        if path.starts_with(REFLECTION) {
            return request;
        }
        let many = path == SCORE_STREAM;
        request.map(|body| Body::new(self.gathered(body, many)))
    }

    fn gathered(&self, body: Body, many: bool) -> Gathered {
        Gathered {
            body,
            many,
            timer: Some(Box::pin(sleep(self.timeout))),
            kept: self.budget.hold_nothing(),
            message: Message::new(&self.budget),
            rest: Bytes::new(),
            is_over: false,
            limits: self.clone(),
        }
    }
}

/// A body whose messages are shown once they are there in full, or the error of the bound that one
/// broke.
struct Gathered {
    body: Body,
    /// Whether there may be more than one message. The only one is shown when the body ends.
    many: bool,
    /// What the longest message of many had beyond [`SHORT`]: tonic keeps a buffer of that size.
    kept: Holding,
    /// Runs while a message is owed: from the start for the first, from its first byte for others.
    timer: Option<Pin<Box<Sleep>>>,
    message: Message,
    /// What came with the end of the message before.
    rest: Bytes,
    /// The body has ended.
    is_over: bool,
    limits: Receiving,
}

/// One message as it arrives.
struct Message {
    holding: Holding,
    prefix: Vec<u8>,
    /// Bytes of the message that have come.
    length: usize,
    /// What has come, in order; shown from the front after the end.
    pieces: VecDeque<Bytes>,
    /// Small pieces that came after those, copied together.
    tail: Vec<u8>,
    is_whole: bool,
}

impl Message {
    fn new(budget: &Arc<ByteBudget>) -> Self {
        Self {
            holding: budget.hold_nothing(),
            prefix: Vec::with_capacity(PREFIX_BYTES),
            length: 0,
            pieces: VecDeque::new(),
            tail: Vec::new(),
            is_whole: false,
        }
    }

    /// The length that the prefix claims, where that has come in full.
    fn claimed(&self) -> Option<usize> {
        let prefix = self.prefix.first_chunk::<PREFIX_BYTES>();
        prefix.map(|&[_, a, b, c, d]| u32::from_be_bytes([a, b, c, d]) as usize)
    }

    fn add(&mut self, mut data: Bytes, limit: usize) -> Result<(), ServiceError> {
        self.holding.take(data.len())?;
        let of_prefix = data.split_to(data.len().min(PREFIX_BYTES - self.prefix.len()));
        self.prefix.extend_from_slice(&of_prefix);
        self.length += data.len();
        // Whoever claims more is refused at once, and whoever sends more than was claimed as well.
        if self.length.max(self.claimed().unwrap_or_default()) > limit {
            return Err(ServiceError::MessageTooLarge { limit });
        }
        if data.len() >= WHOLE_PIECE {
            self.end_tail();
            self.pieces.push_back(data);
        } else {
            self.tail.extend_from_slice(&data);
        }
        Ok(())
    }

    /// Adds what of `data` belongs to this message, which may end with it.
    fn add_from(&mut self, data: &mut Bytes, limit: usize) -> Result<(), ServiceError> {
        let missing = PREFIX_BYTES - self.prefix.len();
        if missing > 0 {
            self.add(data.split_to(missing.min(data.len())), limit)?;
        }
        if let Some(claimed) = self.claimed() {
            let missing = claimed - self.length;
            self.add(data.split_to(missing.min(data.len())), limit)?;
            if self.length == claimed {
                self.end();
            }
        }
        Ok(())
    }

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(std::mem::take(&mut self.tail).into());
        }
    }

    /// Nothing more of it can come. tonic makes room for a message when it has seen the prefix, so
    /// that comes by itself.
    fn end(&mut self) {
        self.end_tail();
        if !self.prefix.is_empty() {
            self.pieces.push_front(std::mem::take(&mut self.prefix).into());
        }
        self.is_whole = true;
    }
}

impl Gathered {
    /// Takes what has come.
    fn take(&mut self) -> Result<(), ServiceError> {
        let limit = self.limits.max_message_bytes;
        if !self.many {
            return self.message.add(std::mem::take(&mut self.rest), limit);
        }
        self.timer.get_or_insert_with(|| Box::pin(sleep(self.limits.timeout)));
        self.message.add_from(&mut self.rest, limit)?;
        // The prefix is the first piece once the message is whole.
        let Message { prefix, pieces, .. } = &self.message;
        let first = prefix.first().or_else(|| pieces.front().and_then(|piece| piece.first()));
        if first.is_some_and(|&is_compressed| is_compressed != 0) {
            return Err(ServiceError::UnsupportedEncoding {
                reason: "messages of a stream are not compressed; pictures are".to_owned(),
                accepted: "identity".to_owned(),
            });
        }
        Ok(())
    }

    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(context).is_ready())
    }

    fn refused(&self, error: ServiceError) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(Some(Err((self.limits.status)(error))))
    }
}

impl HttpBody for Gathered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if self.message.is_whole {
                if let Some(piece) = self.message.pieces.pop_front() {
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                if self.is_over {
                    return Poll::Ready(None);
                }
                let longest = self.message.length.saturating_sub(SHORT);
                self.message = Message::new(&self.limits.budget);
                self.timer = None;
                let more = longest.saturating_sub(self.kept.bytes());
                if let Err(error) = self.kept.take(more) {
                    return self.refused(error);
                }
            }
            if !self.rest.is_empty() {
                if let Err(error) = self.take() {
                    return self.refused(error);
                }
                continue;
            }
            match Pin::new(&mut self.body).poll_frame(context) {
                // Requests of gRPC have no trailers.
                Poll::Ready(Some(frame)) => self.rest = frame?.into_data().unwrap_or_default(),
                Poll::Ready(None) => {
                    self.is_over = true;
                    self.message.end();
                }
                Poll::Pending if self.is_late(context) => {
                    let limit = self.limits.timeout;
                    return self.refused(ServiceError::SlowMessage { limit });
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let Message { prefix, pieces, is_whole, .. } = &self.message;
        let nothing_came = prefix.is_empty() && self.rest.is_empty() && self.body.is_end_stream();
        if *is_whole { pieces.is_empty() && self.is_over } else { nothing_came }
    }
}

#[cfg(test)]
mod tests;
