//! Bounds on a request's message while it arrives: on its time, on its size, and on the bytes of
//! all messages that arrive at once.
//!
//! A caller that sends half a message and then nothing, alive and answering pings, would hold its
//! stream and what it has sent for ever. Bytes are gathered here until the body ends, and only then
//! shown to tonic, so that no caller makes a message wait in decompressed form, which is not
//! counted. Nothing is received before a method asks for it. Calls whose requests are streams by
//! nature are exempt.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Frame};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::Request;

use super::limits::MAX_FRAME_BYTES;
use crate::error::ServiceError;

/// Prefixes of the paths whose requests are streams.
const STREAMS: [&str; 1] = ["/grpc.reflection."];
/// gRPC's prefix of a message: whether it is compressed, and its length in four bytes.
const PREFIX_BYTES: usize = 5;
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
    /// The same request, whose message is received within the bounds.
    pub(crate) fn bounded(&self, request: Request<Body>) -> Request<Body> {
        if STREAMS.iter().any(|prefix| request.uri().path().starts_with(prefix)) {
            return request;
        }
        request.map(|body| Body::new(self.gathered(body)))
    }

    fn gathered(&self, body: Body) -> Gathered {
        Gathered {
            body,
            timer: Box::pin(sleep(self.timeout)),
            limits: self.clone(),
            holding: self.budget.hold_nothing(),
            prefix: Vec::with_capacity(PREFIX_BYTES),
            length: 0,
            pieces: VecDeque::new(),
            tail: Vec::new(),
            is_whole: false,
        }
    }
}

/// A body once it is there in full, or the error of the bound that it broke.
struct Gathered {
    body: Body,
    timer: Pin<Box<Sleep>>,
    limits: Receiving,
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

impl Gathered {
    fn add(&mut self, mut data: Bytes) -> Result<(), ServiceError> {
        self.holding.take(data.len())?;
        let of_prefix = data.split_to(data.len().min(PREFIX_BYTES - self.prefix.len()));
        self.prefix.extend_from_slice(&of_prefix);
        self.length += data.len();
        let prefix = self.prefix.first_chunk::<PREFIX_BYTES>();
        let claimed = prefix.map_or(0, |&[_, a, b, c, d]| u32::from_be_bytes([a, b, c, d]));
        let limit = self.limits.max_message_bytes;
        // Whoever claims more is refused at once, and whoever sends more than was claimed as well.
        if self.length.max(claimed as usize) > limit {
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

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(std::mem::take(&mut self.tail).into());
        }
    }

    /// Nothing more can come. tonic makes room for a message when it has seen the prefix, so that
    /// comes by itself.
    fn end(&mut self) {
        self.end_tail();
        if !self.prefix.is_empty() {
            self.pieces.push_front(std::mem::take(&mut self.prefix).into());
        }
        self.is_whole = true;
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
            if self.is_whole {
                return Poll::Ready(self.pieces.pop_front().map(|piece| Ok(Frame::data(piece))));
            }
            match Pin::new(&mut self.body).poll_frame(context) {
                // Requests of gRPC have no trailers.
                Poll::Ready(Some(frame)) => {
                    if let Ok(data) = frame?.into_data() {
                        self.add(data).map_err(self.limits.status)?;
                    }
                }
                Poll::Ready(None) => self.end(),
                Poll::Pending if self.timer.as_mut().poll(context).is_ready() => {
                    let late = ServiceError::SlowMessage { limit: self.limits.timeout };
                    return Poll::Ready(Some(Err((self.limits.status)(late))));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let nothing_came = self.prefix.is_empty() && self.body.is_end_stream();
        if self.is_whole { self.pieces.is_empty() } else { nothing_came }
    }
}

/// The bound on the bytes of all messages that arrive and are not yet admitted.
///
/// HTTP/2's windows bound what a stream or a connection may send ahead, and `max_message_bytes`
/// one message; neither counts how many there are. Only bytes that came are counted, never a
/// length that was claimed: a claim costs its caller nothing.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    limit: usize,
    in_use: AtomicUsize,
}

/// What one message holds of the budget; dropping it gives it back.
#[derive(Debug)]
struct Holding {
    budget: Arc<ByteBudget>,
    bytes: usize,
}

impl ByteBudget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, in_use: AtomicUsize::new(0) })
    }

    fn hold_nothing(self: &Arc<Self>) -> Holding {
        Holding { budget: Arc::clone(self), bytes: 0 }
    }
}

impl Holding {
    /// Takes `bytes` more. A message alone gets all that it asks for, so that none that is
    /// accepted elsewhere is refused here for ever.
    fn take(&mut self, bytes: usize) -> Result<(), ServiceError> {
        let limit = self.budget.limit;
        let more = |in_use: usize| {
            let is_alone = in_use == self.bytes;
            let sum = in_use.saturating_add(bytes);
            (is_alone || sum <= limit).then_some(sum)
        };
        match self.budget.in_use.fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(in_use) => Err(ServiceError::ReceivingTooMuch { in_use, limit }),
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.budget.in_use.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
