//! A caller that sends bytes as they are.

use prost::Message;
use prost::bytes::BufMut;
use protoguard_proto::v1;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};

const SCORE_CLIP: &str = "/protoguard.v1.ScoringService/ScoreClip";

/// Sends `message`, whatever it is, as a `ScoreClipRequest`.
pub(crate) async fn score(
    channel: Channel,
    message: Vec<u8>,
) -> Result<v1::ScoreClipResponse, Status> {
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(64 << 20);
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let path = PathAndQuery::from_static(SCORE_CLIP);
    client.unary(Request::new(message), path, Raw).await.map(tonic::Response::into_inner)
}

#[derive(Clone, Copy, Debug)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = v1::ScoreClipResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = v1::ScoreClipResponse;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let message = v1::ScoreClipResponse::decode(bytes);
        message.map(Some).map_err(|error| Status::unknown(error.to_string()))
    }
}
