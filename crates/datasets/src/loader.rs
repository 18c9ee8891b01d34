//! Batches of clips, shuffled for training.

use std::ops::RangeInclusive;
use std::sync::Arc;

use protoguard_core::{Clip, ClipShape};
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::prefetch::{Outlet, Prefetched};
use crate::{DatasetError, DecodedVideo};

/// How training clips are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderConfig {
    /// The clips' geometry.
    pub shape: ClipShape,
    /// Clips a batch; a last batch of fewer is dropped, so that every step sees as many.
    pub batch_size: usize,
    /// With the epoch's number, all that the order and the companions' speeds depend on.
    pub seed: u64,
    /// Batches made ahead of the one in use.
    pub prefetch: usize,
    /// Whether every clip comes with one that is sped up.
    pub sped_up: bool,
}

/// Clips for a forward pass of training.
#[derive(Clone, Debug, Default)]
pub struct ClipBatch {
    /// What to learn.
    pub clips: Vec<Clip>,
    /// For each of them, where asked for, one of the same video in which everything moves two to
    /// four times as fast, as far as the video reaches: see [`DecodedVideo::sped_up_clip`].
    pub sped_up: Vec<Clip>,
}

/// How many times as fast sped-up clips are, drawn evenly.
const SPEEDS: RangeInclusive<usize> = 2..=4;

/// Where a clip begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Index of its video.
    pub video: usize,
    /// Index of its oldest frame in that video.
    pub start: usize,
    /// How many times as fast its companion is.
    pub stride: usize,
}

/// Every clip of the training videos, once an epoch, in an order that depends only on the seed
/// and the epoch's number: a run resumed in the middle sees the clips it would have seen.
#[derive(Clone, Debug)]
pub struct ClipLoader {
    videos: Arc<[DecodedVideo]>,
    positions: Vec<Position>,
    config: LoaderConfig,
}

impl ClipLoader {
    /// A loader over all clips of `videos`, whose frames have the shape's side.
    pub fn new(videos: impl Into<Arc<[DecodedVideo]>>, config: LoaderConfig) -> Self {
        let videos = videos.into();
        let positions = videos
            .iter()
            .enumerate()
            .flat_map(|(video, decoded)| {
                (0..decoded.clip_count(config.shape)).map(move |start| Position {
                    video,
                    start,
                    stride: 1,
                })
            })
            .collect();
        Self { videos, positions, config }
    }

    /// Clips an epoch, those of the dropped last batch included.
    pub fn clips(&self) -> usize {
        self.positions.len()
    }

    /// Whole batches an epoch.
    pub fn batches_per_epoch(&self) -> usize {
        self.positions.len().checked_div(self.config.batch_size).unwrap_or(0)
    }

    /// The batches of one epoch. Nothing is prepared before the first is asked for.
    pub fn epoch(&self, epoch: u64) -> EpochBatches {
        // The epoch chooses the stream, so that epochs of one seed are independent of each other.
        let mut rng = ChaCha8Rng::seed_from_u64(self.config.seed);
        rng.set_stream(epoch);
        let mut order = self.positions.clone();
        order.shuffle(&mut rng);
        order.truncate(self.batches_per_epoch() * self.config.batch_size);
        for at in &mut order {
            at.stride = rng.random_range(SPEEDS);
        }
        EpochBatches {
            videos: Arc::clone(&self.videos),
            order,
            config: self.config,
            next: 0,
            made: None,
        }
    }
}

/// One epoch's batches in their order, made ahead on a thread that ends with this value. An error
/// of the frame cache is the last item.
#[derive(Debug)]
pub struct EpochBatches {
    videos: Arc<[DecodedVideo]>,
    order: Vec<Position>,
    config: LoaderConfig,
    next: usize,
    made: Option<Prefetched<ClipBatch>>,
}

impl EpochBatches {
    /// Starts `batches` later, at no cost: the skipped batches are never made.
    #[must_use]
    pub fn skip_batches(mut self, batches: usize) -> Self {
        self.made = None;
        self.next = self.next.saturating_add(batches).min(self.total());
        self
    }

    /// Number of the batch that comes next, from 0: what a resumed run passes to
    /// [`EpochBatches::skip_batches`].
    pub fn position(&self) -> usize {
        self.next
    }

    /// Where the clips of a batch come from, to name them when they make trouble; empty past the
    /// last batch.
    pub fn positions(&self, batch: usize) -> &[Position] {
        self.order.chunks_exact(self.config.batch_size.max(1)).nth(batch).unwrap_or(&[])
    }

    fn total(&self) -> usize {
        self.order.len().checked_div(self.config.batch_size).unwrap_or(0)
    }

    fn start(&self) -> Prefetched<ClipBatch> {
        let videos = Arc::clone(&self.videos);
        let order = self.order[self.next * self.config.batch_size..].to_vec();
        let config = self.config;
        Prefetched::start(config.prefetch, move |outlet| produce(&videos, &order, config, outlet))
    }
}

fn produce(
    videos: &[DecodedVideo],
    order: &[Position],
    config: LoaderConfig,
    outlet: &Outlet<ClipBatch>,
) {
    for positions in order.chunks_exact(config.batch_size) {
        if !outlet.put(batch(videos, positions, config)) {
            return;
        }
    }
}

fn batch(
    videos: &[DecodedVideo],
    positions: &[Position],
    LoaderConfig { shape, sped_up, .. }: LoaderConfig,
) -> Result<ClipBatch, DatasetError> {
    let mut batch = ClipBatch::default();
    for &Position { video, start, stride } in positions {
        batch.clips.extend(videos[video].clip_at(shape, start)?);
        if sped_up {
            batch.sped_up.extend(videos[video].sped_up_clip(shape, start, stride)?);
        }
    }
    Ok(batch)
}

impl Iterator for EpochBatches {
    type Item = Result<ClipBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.total() {
            return None;
        }
        if self.made.is_none() {
            self.made = Some(self.start());
        }
        let batch = self.made.as_mut()?.next()?;
        self.next = if batch.is_ok() { self.next + 1 } else { self.total() };
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.total() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for EpochBatches {}
