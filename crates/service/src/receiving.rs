//! Bounds on a request's message while it arrives: on its time, on its size, and on the bytes of
//! all messages that arrive at once.
//!
//! A caller that sends half a message and then nothing, alive and answering pings, would hold its
//! stream and what it has sent for ever. Bytes are gathered here until the body ends, and only then
//! shown to tonic, so that no caller makes a message wait in decompressed form, which is not
//! counted. Nothing is received before a method asks for it. Calls whose requests are streams by
//! nature are exempt.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Frame};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

use crate::ServiceError;
use crate::byte_budget::{ByteBudget, Holding};

/// Prefixes of the paths whose requests are streams.
const STREAMS: [&str; 1] = ["/grpc.reflection."];
/// gRPC's prefix of a message: whether it is compressed, and its length in four bytes.
const PREFIX_BYTES: usize = 5;

#[derive(Clone, Debug)]
pub(crate) struct ReceivingLayer {
    pub(crate) timeout: Duration,
    pub(crate) max_message_bytes: usize,
    pub(crate) budget: Arc<ByteBudget>,
}

#[derive(Clone, Debug)]
pub(crate) struct Receiving<S> {
    inner: S,
    limits: ReceivingLayer,
}

impl<S> Layer<S> for ReceivingLayer {
    type Service = Receiving<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Receiving { inner, limits: self.clone() }
    }
}

impl<S> Service<Request<Body>> for Receiving<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if STREAMS.iter().any(|prefix| request.uri().path().starts_with(prefix)) {
            return self.inner.call(request);
        }
        let limits = &self.limits;
        self.inner.call(request.map(|body| Body::new(limits.gathered(body))))
    }
}

impl ReceivingLayer {
    fn gathered(&self, body: Body) -> Gathered {
        Gathered {
            body,
            timer: Box::pin(sleep(self.timeout)),
            timeout: self.timeout,
            max_message_bytes: self.max_message_bytes,
            holding: self.budget.hold_nothing(),
            message: Vec::new(),
            pieces: None,
        }
    }
}

/// A body once it is there in full, or the error of the bound that it broke.
struct Gathered {
    body: Body,
    timer: Pin<Box<Sleep>>,
    timeout: Duration,
    max_message_bytes: usize,
    holding: Holding,
    /// What has come, with its prefix.
    message: Vec<u8>,
    /// What is shown after the end, last piece first.
    pieces: Option<Vec<Bytes>>,
}

impl Gathered {
    fn add(&mut self, data: &[u8]) -> Result<(), ServiceError> {
        self.holding.take(data.len())?;
        self.message.extend_from_slice(data);
        let claimed = self.message.first_chunk::<PREFIX_BYTES>();
        let claimed = claimed.map_or(0, |&[_, a, b, c, d]| u32::from_be_bytes([a, b, c, d]));
        let limit = self.max_message_bytes;
        // Whoever claims more is refused at once, and whoever sends more than was claimed as well.
        let length = self.message.len().saturating_sub(PREFIX_BYTES);
        if length.max(claimed as usize) > limit {
            return Err(ServiceError::MessageTooLarge { limit });
        }
        Ok(())
    }

    /// The prefix and the message. tonic makes room for a message when it has seen the prefix;
    /// shown in one piece with it, the message would be copied once more.
    fn in_pieces(&mut self) -> Vec<Bytes> {
        let mut message = Bytes::from(std::mem::take(&mut self.message));
        let prefix = message.split_to(PREFIX_BYTES.min(message.len()));
        vec![message, prefix]
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
            if let Some(pieces) = &mut self.pieces {
                return Poll::Ready(pieces.pop().map(|piece| Ok(Frame::data(piece))));
            }
            match Pin::new(&mut self.body).poll_frame(context) {
                // Requests of gRPC have no trailers.
                Poll::Ready(Some(frame)) => {
                    if let Ok(data) = frame?.into_data() {
                        self.add(&data)?;
                    }
                }
                Poll::Ready(None) => self.pieces = Some(self.in_pieces()),
                Poll::Pending if self.timer.as_mut().poll(context).is_ready() => {
                    let late = ServiceError::SlowMessage { limit: self.timeout };
                    return Poll::Ready(Some(Err(late.into())));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let nothing_came = self.message.is_empty() && self.body.is_end_stream();
        self.pieces.as_ref().map_or(nothing_came, Vec::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::task::Waker;

    use tokio::sync::mpsc;
    use tonic::Code;

    use super::*;

    /// A body that ends when its sender is dropped.
    struct Sent(mpsc::UnboundedReceiver<&'static [u8]>);

    impl HttpBody for Sent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let frame = |bytes| Ok(Frame::data(Bytes::from_static(bytes)));
            self.0.poll_recv(context).map(|bytes| bytes.map(frame))
        }
    }

    fn gathered() -> (mpsc::UnboundedSender<&'static [u8]>, Gathered) {
        let (sender, sent) = mpsc::unbounded_channel();
        let (timeout, budget) = (Duration::from_secs(60), ByteBudget::new(1000));
        let limits = ReceivingLayer { timeout, max_message_bytes: 8, budget };
        (sender, limits.gathered(Body::new(Sent(sent))))
    }

    fn poll(body: &mut Gathered) -> Poll<Option<Result<Bytes, Code>>> {
        let polled = Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()));
        let data = |frame: Frame<Bytes>| frame.into_data().expect("there are no trailers");
        polled.map(|frame| frame.map(|frame| frame.map(data).map_err(|status| status.code())))
    }

    #[tokio::test]
    async fn a_message_is_shown_when_nothing_more_can_come() {
        let (sender, mut body) = gathered();
        for part in [&b"\0\0"[..], b"\0\0\x02h", b"i"] {
            sender.send(part).unwrap();
            assert_eq!(poll(&mut body), Poll::Pending);
        }
        drop(sender);
        for piece in [&b"\0\0\0\0\x02"[..], b"hi"] {
            assert!(!body.is_end_stream());
            assert_eq!(poll(&mut body), Poll::Ready(Some(Ok(Bytes::from_static(piece)))));
        }
        assert!(body.is_end_stream());
        assert_eq!(poll(&mut body), Poll::Ready(None));
    }

    #[tokio::test]
    async fn more_than_the_limit_is_refused_whether_claimed_or_sent() {
        for bytes in [&b"\0\0\0\0\x09"[..], b"\0\0\0\0\x01123456789"] {
            let (sender, mut body) = gathered();
            sender.send(bytes).unwrap();
            let refused = Poll::Ready(Some(Err(Code::ResourceExhausted)));
            assert_eq!(poll(&mut body), refused, "{bytes:?}");
        }
    }
}
