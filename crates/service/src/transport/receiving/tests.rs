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
    (sender, limits.gathered(Body::new(Sent(sent)), false))
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

/// A body of many messages of at most 8 bytes, of which all together may hold so many bytes.
fn stream(budget: usize) -> (mpsc::UnboundedSender<&'static [u8]>, Gathered) {
    let (sender, mut body) = gathered();
    body.many = true;
    body.limits.budget = ByteBudget::new(budget);
    body.message = Message::new(&body.limits.budget);
    body.kept = body.limits.budget.hold_nothing();
    (sender, body)
}

#[tokio::test]
async fn each_of_many_messages_is_shown_when_it_is_whole() {
    let (sender, mut body) = stream(100);
    // The first ends within a piece in which the second, empty, and the third begin.
    for part in [&b"\0\0\0\0\x02h"[..], b"i\0\0\0\0\0\0\0\0", b"\0\x03a", b"bc"] {
        sender.send(part).unwrap();
    }
    let shown = |bytes: &'static [u8]| Poll::Ready(Some(Ok(Bytes::from_static(bytes))));
    for piece in [&b"\0\0\0\0\x02"[..], b"hi", b"\0\0\0\0\0", b"\0\0\0\0\x03", b"abc"] {
        assert_eq!(poll(&mut body), shown(piece));
    }
    assert_eq!(poll(&mut body), Poll::Pending);
    assert!(!body.is_end_stream());
    drop(sender);
    assert_eq!(poll(&mut body), Poll::Ready(None));
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn a_message_among_many_has_the_bounds_of_one() {
    let (sender, mut body) = stream(100);
    for part in [&b"\0\0\0\0\x01a"[..], b"\0\0\0\0\x09"] {
        sender.send(part).unwrap();
    }
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(_)))));
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(_)))));
    assert_eq!(poll(&mut body), Poll::Ready(Some(Err(Code::ResourceExhausted))));
}

#[tokio::test]
async fn what_was_shown_is_no_longer_held() {
    let (sender, mut body) = stream(7);
    let mut other = body.limits.budget.hold_nothing();
    sender.send(b"\0\0\0\0\x01a\0").unwrap();
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(_)))));
    assert!(other.take(2).is_err());
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(_)))));
    // One byte of the next message is held.
    assert_eq!(poll(&mut body), Poll::Pending);
    other.take(6).unwrap();
    assert!(other.take(1).is_err());
}

#[tokio::test(start_paused = true)]
async fn many_messages_may_be_far_apart_and_each_comes_in_time() {
    let (sender, mut body) = stream(100);
    sender.send(b"\0\0\0\0\0").unwrap();
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(_)))));
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(poll(&mut body), Poll::Pending);
    sender.send(b"\0\0").unwrap();
    assert_eq!(poll(&mut body), Poll::Pending);
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(poll(&mut body), Poll::Pending);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(poll(&mut body), Poll::Ready(Some(Err(Code::ResourceExhausted))));
    // A stream that says nothing at all is late as well.
    let (_sender, mut silent) = stream(100);
    assert_eq!(poll(&mut silent), Poll::Pending);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(poll(&mut silent), Poll::Ready(Some(Err(Code::ResourceExhausted))));
}

#[tokio::test]
async fn a_compressed_message_of_many_is_refused_before_anything_is_inflated() {
    let (sender, mut body) = stream(100);
    sender.send(b"\x01\0\0\0\x02hi").unwrap();
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Err(_)))));
}

#[tokio::test]
async fn the_buffer_of_a_long_message_is_held_as_long_as_the_call() {
    static LONG: [u8; SHORT + 7] = [7; SHORT + 7];
    let (sender, mut body) = stream(2 * SHORT);
    body.limits.max_message_bytes = 2 * SHORT;
    let budget = Arc::clone(&body.limits.budget);
    sender.send(b"\0\0\x04\0\x07").unwrap();
    sender.send(&LONG).unwrap();
    while let Poll::Ready(Some(piece)) = poll(&mut body) {
        piece.unwrap();
    }
    assert_eq!(body.kept.bytes(), 7);
    let mut other = budget.hold_nothing();
    other.take(2 * SHORT - 7).unwrap();
    assert!(other.take(1).is_err());
    drop(body);
    other.take(7).unwrap();
}
