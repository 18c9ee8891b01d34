//! When a message is shown, and which bound refuses it.

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
    gathered_up_to(8)
}

fn gathered_up_to(max_message_bytes: usize) -> (mpsc::UnboundedSender<&'static [u8]>, Gathered) {
    let (sender, sent) = mpsc::unbounded_channel();
    let limits = Receiving {
        timeout: Duration::from_secs(60),
        max_message_bytes,
        budget: ByteBudget::new(10 * WHOLE_PIECE),
        status: |error| Status::resource_exhausted(error.to_string()),
    };
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
async fn large_pieces_are_kept_as_they_came_and_slivers_are_put_together() {
    static LARGE: [u8; WHOLE_PIECE] = [7; WHOLE_PIECE];
    let (sender, mut body) = gathered_up_to(4 * WHOLE_PIECE);
    for part in [&b"\0\0\0\0\0a"[..], b"b", &LARGE, &LARGE[1..], b"c"] {
        sender.send(part).unwrap();
    }
    drop(sender);
    let mut pieces = Vec::new();
    while let Poll::Ready(Some(piece)) = poll(&mut body) {
        pieces.push(piece.unwrap());
    }
    let together = [&LARGE[1..], b"c"].concat();
    assert_eq!(pieces, [&b"\0\0\0\0\0"[..], b"ab", &LARGE, &together]);
    assert!(std::ptr::eq(pieces[2].as_ptr(), LARGE.as_ptr()));
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

#[test]
fn the_bytes_of_all_messages_are_bounded_and_come_back() {
    let budget = ByteBudget::new(100);
    let mut first = budget.hold_nothing();
    let mut second = budget.hold_nothing();
    first.take(60).unwrap();
    second.take(40).unwrap();
    let full = ServiceError::ReceivingTooMuch { in_use: 100, limit: 100 };
    assert_eq!(second.take(1), Err(full.clone()));
    assert_eq!(first.take(1), Err(full));
    drop(second);
    first.take(40).unwrap();
    drop(first);
    assert_eq!(budget.in_use.load(Ordering::Acquire), 0);
}

#[test]
fn a_message_alone_may_be_larger_than_the_budget() {
    let budget = ByteBudget::new(100);
    let mut large = budget.hold_nothing();
    let mut small = budget.hold_nothing();
    large.take(60).unwrap();
    large.take(60).unwrap();
    assert!(small.take(1).is_err());
    drop(large);
    small.take(1).unwrap();
}
