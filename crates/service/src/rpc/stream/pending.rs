//! What becomes of frames, in their order.

use std::future::ready;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesOrdered, StreamExt};

use protoguard_core::{CameraState, CaptureTime, ClipSurprise, Restart};
use protoguard_proto::v1;
use tokio::time::Instant;

use super::judge::Judge;
use crate::error::ServiceError;

/// What a caller is to hear next.
pub(super) enum Item {
    /// Another judge takes over.
    Judge(Arc<Judge>),
    /// The camera's picture is so from a frame on.
    Camera(Option<CameraState>, CaptureTime),
    /// The answer of a frame.
    Frame(FrameEnd),
}

/// A frame and what became of it.
pub(super) struct FrameEnd {
    pub(super) id: u64,
    pub(super) at: CaptureTime,
    pub(super) arrived: Instant,
    pub(super) camera: Option<CameraState>,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    Scored(Box<ScoredFrame>),
    WarmingUp(Restart),
    Skipped,
    OffGrid,
    Failed(ServiceError),
    NoVerdict,
}

impl Outcome {
    /// As its answer says it.
    pub(super) fn on_the_wire(&self) -> v1::FrameOutcome {
        match self {
            Self::Scored(_) => v1::FrameOutcome::Scored,
            Self::WarmingUp(_) => v1::FrameOutcome::WarmingUp,
            Self::Skipped => v1::FrameOutcome::Skipped,
            Self::OffGrid => v1::FrameOutcome::OffGrid,
            Self::Failed(_) => v1::FrameOutcome::Failed,
            Self::NoVerdict => v1::FrameOutcome::NoVerdict,
        }
    }

    /// Whether the frame's time is one of the camera's.
    pub(super) fn is_of_the_window(&self) -> bool {
        !matches!(self, Self::OffGrid | Self::Failed(_))
    }
}

/// A frame's scores, and what the alarm takes of them.
pub(super) struct ScoredFrame {
    pub(super) response: v1::ScoreClipResponse,
    pub(super) surprise: Option<ClipSurprise>,
}

/// Items that are there and items that are being computed, told in the order in which they came.
#[derive(Default)]
pub(super) struct Pending {
    items: FuturesOrdered<BoxFuture<'static, Told>>,
    computing: usize,
}

struct Told {
    item: Item,
    was_computed: bool,
}

impl Pending {
    pub(super) fn push(&mut self, item: Item) {
        self.items.push_back(ready(Told { item, was_computed: false }).boxed());
    }

    /// Adds a frame that is being scored.
    pub(super) fn compute(&mut self, frame: impl Future<Output = FrameEnd> + Send + 'static) {
        self.computing += 1;
        let told = frame.map(|frame| Told { item: Item::Frame(frame), was_computed: true });
        self.items.push_back(told.boxed());
    }

    /// The next item, once it is there; nothing where none is expected.
    pub(super) async fn next(&mut self) -> Option<Item> {
        let Told { item, was_computed } = self.items.next().await?;
        self.computing -= usize::from(was_computed);
        Some(item)
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Frames that are being scored.
    pub(super) fn computing(&self) -> usize {
        self.computing
    }
}
