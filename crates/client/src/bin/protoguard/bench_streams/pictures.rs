//! What the cameras see.

use protoguard_client::Client;
use protoguard_core::{Clip, ClipShape, Frame};
use protoguard_frames::scenes::test_clip;
use protoguard_proto::v1;
use protoguard_proto::v1::score_clip_request::Clip as WireClip;
use protoguard_proto::v1::stream_frame::Picture;

use crate::arguments::PayloadKind;
use crate::score::clips::Packing;

/// Frames in a row that flicker.
const FLICKER: u64 = 6;
/// gRPC's prefix of a message.
const PREFIX: usize = 5;

/// Frames of a drawn scene, there and back again, and their negatives.
#[derive(Debug)]
pub(crate) struct Pictures {
    clip: WireClip,
    usual: Vec<Picture>,
    negative: Vec<Picture>,
    flicker: u64,
}

impl Pictures {
    pub(crate) fn draw(
        shape: ClipShape,
        payload: PayloadKind,
        flicker: u64,
    ) -> anyhow::Result<Self> {
        let packing = Packing { shape, payload: Some(payload) };
        let clip = test_clip(shape, false);
        let packed = packing.pack_drawn(&clip)?;
        let negative = packing.pack_drawn(&negative(&clip)?)?;
        Ok(Self { usual: pictures(&packed), negative: pictures(&negative), clip: packed, flicker })
    }

    /// What a camera sees at its frame of this number.
    pub(crate) fn at(&self, frame: u64) -> Picture {
        let turn = 2 * (self.usual.len() as u64 - 1);
        let place = frame % turn;
        let index = place.min(turn - place) as usize;
        // Every other frame of the last ones of a round.
        let flickers = self.flicker > 0
            && frame % self.flicker >= self.flicker.saturating_sub(FLICKER)
            && frame.is_multiple_of(2);
        let pictures = if flickers { &self.negative } else { &self.usual };
        pictures[index].clone()
    }

    /// Bytes on the wire of a call of its own for a frame: the clip that ends with it, and its
    /// scores.
    pub(crate) async fn bytes_of_a_clip(
        &self,
        client: &Client,
        model: &str,
    ) -> anyhow::Result<usize> {
        let request = v1::ScoreClipRequest {
            model: model.to_owned(),
            clip: Some(self.clip.clone()),
            ..Default::default()
        };
        let sent = bytes_of(&request);
        Ok(sent + bytes_of(&client.score_clip(request).await?))
    }
}

/// Bytes of a message on the wire.
pub(crate) fn bytes_of(message: &impl prost::Message) -> usize {
    message.encoded_len() + PREFIX
}

fn negative(clip: &Clip) -> anyhow::Result<Clip> {
    let invert = |frame: &Frame| {
        let pixels = frame.pixels().iter().map(|value| 255 - value).collect::<Vec<u8>>();
        Frame::new(frame.height(), frame.width(), pixels)
    };
    let frames = clip.frames().iter().map(invert).collect::<Result<_, _>>()?;
    Ok(Clip::new(clip.shape(), frames)?)
}

/// The frames of a clip, each as a camera sends it.
fn pictures(clip: &WireClip) -> Vec<Picture> {
    match clip {
        WireClip::EncodedFrames(encoded) => {
            encoded.frames.iter().cloned().map(Picture::Encoded).collect()
        }
        WireClip::RawFrames(raw) => {
            let bytes = raw.data.len() / raw.count.max(1) as usize;
            let frame = |at: usize| v1::RawFrame {
                data: raw.data.slice(at * bytes..(at + 1) * bytes),
                height: raw.height,
                width: raw.width,
                pixel_format: raw.pixel_format,
            };
            (0..raw.count as usize).map(|at| Picture::Raw(frame(at))).collect()
        }
        WireClip::TestClip(_) => Vec::new(),
    }
}
