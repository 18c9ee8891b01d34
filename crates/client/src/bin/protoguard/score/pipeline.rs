//! Clips on their way to the server and back: bounded, in parallel, in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protoguard_client::{Client, ClientError};
use protoguard_proto::v1;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::clips::{Packing, ReadClip};
use super::source::Source;

/// What the reader says of the videos, in order.
#[derive(Debug)]
pub(crate) enum Reading {
    Clip {
        video: usize,
        clip: Box<ReadClip>,
    },
    /// A video has this many frames, and all its clips have been handed over.
    Ended {
        frames: usize,
    },
}

/// The server's answer to one clip.
#[derive(Clone, Debug)]
pub(crate) struct Scored {
    pub(crate) video: usize,
    /// Zero-based index of the target.
    pub(crate) frame: usize,
    pub(crate) copy_frame_psnr_db: Option<f64>,
    /// From sending to answer, retries included.
    pub(crate) latency: Duration,
    pub(crate) response: v1::ScoreClipResponse,
}

/// Reads and cuts videos on a thread of its own, at most `ahead` clips before they are sent. It
/// ends when the receiver is dropped.
pub(crate) fn read(
    sources: Arc<Vec<Source>>,
    packing: Packing,
    ahead: usize,
) -> mpsc::Receiver<anyhow::Result<Reading>> {
    let (sender, receiver) = mpsc::channel(ahead);
    tokio::task::spawn_blocking(move || {
        for (video, source) in sources.iter().enumerate() {
            let read = packing.for_each_clip(source, |clip| {
                let clip = Box::new(clip);
                Ok(sender.blocking_send(Ok(Reading::Clip { video, clip })).is_ok())
            });
            let failed = read.is_err();
            let ended = read.map(|frames| Reading::Ended { frames });
            // Whoever dropped the receiver wants no more.
            if sender.blocking_send(ended).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// Sends clips with `concurrency` of them in flight, and hands answers over in the clips' order.
/// `template` is every request of a video but its clip. Gives the number of frames of each video.
pub(crate) async fn score(
    client: &Client,
    template: impl Fn(usize) -> v1::ScoreClipRequest,
    mut readings: mpsc::Receiver<anyhow::Result<Reading>>,
    concurrency: usize,
    mut take: impl FnMut(Scored) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<usize>> {
    let mut in_flight: JoinSet<(usize, Result<Scored, ClientError>)> = JoinSet::new();
    let mut early = BTreeMap::new();
    let (mut sent, mut handed_over) = (0, 0);
    let mut frames = Vec::new();
    let mut reading = true;
    while reading || !in_flight.is_empty() {
        tokio::select! {
            next = readings.recv(), if reading && in_flight.len() < concurrency => match next {
                Some(next) => match next? {
                    Reading::Ended { frames: found } => frames.push(found),
                    Reading::Clip { video, clip } => {
                        let mut request = template(video);
                        // Found again in the server's log.
                        request.request_id = format!("{video}/{}", clip.frame);
                        let answer = score_one(client.clone(), request, video, *clip);
                        let order = sent;
                        in_flight.spawn(async move { (order, answer.await) });
                        sent += 1;
                    }
                },
                None => reading = false,
            },
            Some(answered) = in_flight.join_next() => {
                let (order, scored) = answered?;
                early.insert(order, scored?);
                while let Some(scored) = early.remove(&handed_over) {
                    take(scored)?;
                    handed_over += 1;
                }
            }
        }
    }
    Ok(frames)
}

async fn score_one(
    client: Client,
    request: v1::ScoreClipRequest,
    video: usize,
    clip: ReadClip,
) -> Result<Scored, ClientError> {
    let frame = clip.frame;
    let copy_frame_psnr_db = clip.clip.copy_frame_psnr().map(|psnr| psnr.0);
    let request = v1::ScoreClipRequest { clip: Some(clip.wire), ..request };
    let started = Instant::now();
    let response = client.score_clip(request).await?;
    Ok(Scored { video, frame, copy_frame_psnr_db, latency: started.elapsed(), response })
}
