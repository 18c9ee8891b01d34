//! Clips in their order, for evaluation and calibration.

use std::sync::Arc;

use protoguard_core::{Clip, ClipShape};

use crate::prefetch::{Outlet, Prefetched};
use crate::{DatasetError, DecodedVideo};

/// A clip and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedClip {
    /// Index of its video.
    pub video: usize,
    /// Index of its target in that video: the frame that the clip's score belongs to.
    pub frame: usize,
    /// The frames.
    pub clip: Clip,
}

/// Every clip of `videos` in order. The first `t` frames of a video have none. An error of the
/// frame cache stands in the place of the rest of its video.
pub fn clips_in_order(
    videos: &[DecodedVideo],
    shape: ClipShape,
) -> impl Iterator<Item = Result<PlacedClip, DatasetError>> + '_ {
    videos.iter().enumerate().flat_map(move |(video, decoded)| {
        let first = shape.past_frames();
        decoded
            .clips(shape)
            .enumerate()
            .map(move |(start, clip)| Ok(PlacedClip { video, frame: start + first, clip: clip? }))
    })
}

/// How [`OrderedBatches`] are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderedConfig {
    /// The clips' geometry.
    pub shape: ClipShape,
    /// Clips a batch; the last has what is left.
    pub batch_size: usize,
    /// Batches made ahead of the one in use.
    pub prefetch: usize,
}

/// The clips of [`clips_in_order`] in batches across videos, each prepared on a thread of its own
/// while those before it are computed. The thread ends with this value; an error is the last
/// item.
///
/// What `prepare` makes of a clip is what is worth the thread's time, such as a baseline's score.
#[derive(Debug)]
pub struct OrderedBatches<T> {
    batches: Prefetched<Vec<T>>,
}

impl<T: Send + 'static> OrderedBatches<T> {
    /// Starts to prepare the clips of `videos`.
    pub fn new(
        videos: impl Into<Arc<[DecodedVideo]>>,
        config: OrderedConfig,
        prepare: impl Fn(PlacedClip) -> T + Send + 'static,
    ) -> Self {
        let videos = videos.into();
        let make = move |outlet: &Outlet<_>| produce(&videos, config, &prepare, outlet);
        Self { batches: Prefetched::start(config.prefetch, make) }
    }
}

fn produce<T>(
    videos: &[DecodedVideo],
    config: OrderedConfig,
    prepare: &dyn Fn(PlacedClip) -> T,
    outlet: &Outlet<Vec<T>>,
) {
    let size = config.batch_size.max(1);
    let mut clips = clips_in_order(videos, config.shape);
    loop {
        let some = clips.by_ref().take(size).map(|clip| clip.map(prepare));
        let batch: Result<Vec<T>, DatasetError> = some.collect();
        let ended = batch.as_ref().is_ok_and(Vec::is_empty);
        if ended || !outlet.put(batch) {
            return;
        }
    }
}

impl<T> Iterator for OrderedBatches<T> {
    type Item = Result<Vec<T>, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next()
    }
}
