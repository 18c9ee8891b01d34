//! Calls made of bytes, for what no client library would send.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use protoguard_proto::v1;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tonic::Status;

use crate::bench::{Served, bounded};

const SCORE_CLIP: &str = "/protoguard.v1.ScoringService/ScoreClip";

/// A bare HTTP/2 connection.
pub(crate) struct Wire {
    sender: http2::SendRequest<Body>,
    origin: String,
}

/// A request's bytes as they are sent, one frame a message; it ends when its sender is dropped.
struct Body(mpsc::UnboundedReceiver<Vec<u8>>);

/// What a call is made of beside its bytes.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) path: &'a str,
    /// The header `grpc-encoding`; none where empty.
    pub(crate) encoding: &'a str,
    /// The header `grpc-timeout`; none where empty.
    pub(crate) timeout: &'a str,
}

impl Default for Call<'_> {
    fn default() -> Self {
        Self { path: SCORE_CLIP, encoding: "", timeout: "" }
    }
}

impl Wire {
    pub(crate) async fn to(served: &Served) -> Self {
        let address = served.address.trim_start_matches("http://");
        let stream = TcpStream::connect(address).await.unwrap();
        let executor = TokioExecutor::new();
        let (sender, connection) = http2::handshake(executor, TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, origin: served.address.clone() }
    }

    /// Begins a call whose bytes come by the returned sender. The answer is its status, which is
    /// none where the call was answered with a message.
    pub(crate) fn begin(
        &mut self,
        call: Call<'_>,
    ) -> (mpsc::UnboundedSender<Vec<u8>>, impl Future<Output = Option<Status>> + use<>) {
        let (sender, bytes) = mpsc::unbounded_channel();
        let mut request = hyper::Request::post(format!("{}{}", self.origin, call.path))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in [("grpc-encoding", call.encoding), ("grpc-timeout", call.timeout)] {
            if !value.is_empty() {
                request = request.header(name, value);
            }
        }
        let answer = self.sender.send_request(request.body(Body(bytes)).unwrap());
        let status = async move {
            let response = bounded(answer).await.unwrap();
            Status::from_header_map(response.headers())
        };
        (sender, status)
    }

    /// A call of these bytes in full.
    pub(crate) async fn send(&mut self, call: Call<'_>, bytes: Vec<u8>) -> Option<Status> {
        let (sender, status) = self.begin(call);
        sender.send(bytes).unwrap();
        drop(sender);
        status.await
    }
}

/// A message behind its prefix: whether it is compressed, and the length that it claims.
pub(crate) fn framed(compressed: u8, length: u32, message: &[u8]) -> Vec<u8> {
    [&[compressed][..], &length.to_be_bytes(), message].concat()
}

/// A whole request behind its prefix.
pub(crate) fn framed_request(request: &v1::ScoreClipRequest) -> Vec<u8> {
    let message = request.encode_to_vec();
    framed(0, u32::try_from(message.len()).unwrap(), &message)
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| Some(Ok(Frame::data(bytes?.into()))))
    }
}
