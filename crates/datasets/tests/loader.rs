//! The seeded loader: what an epoch holds, that it can be resumed, and that it ends.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use protoguard_core::{Clip, ClipShape, Frame};
use protoguard_datasets::{
    ClipBatch, ClipLoader, DatasetError, DecodedVideo, LoaderConfig, OrderedBatches, OrderedConfig,
    clips_in_order,
};

fn config() -> LoaderConfig {
    let shape = ClipShape::new(4, 16).unwrap();
    LoaderConfig { shape, batch_size: 4, seed: 7, prefetch: 2, sped_up: false }
}

/// Videos whose frames carry numbers that occur once.
fn videos() -> Vec<DecodedVideo> {
    let frame = |number: usize| Frame::new(16, 16, vec![number as u8; 768]).unwrap();
    let video = |range: std::ops::Range<usize>| {
        DecodedVideo::in_memory(&range.start.to_string(), None, range.map(frame).collect())
    };
    vec![video(0..30), video(100..103), video(130..155)]
}

fn targets(batches: impl IntoIterator<Item = Result<ClipBatch, DatasetError>>) -> Vec<Vec<u8>> {
    let target = |clip: &Clip| clip.target().unwrap().pixels()[0];
    batches.into_iter().map(|batch| batch.unwrap().clips.iter().map(target).collect()).collect()
}

/// The numbers of a clip's frames.
fn numbers(clip: &Clip) -> Vec<u8> {
    clip.frames().iter().map(|frame| frame.pixels()[0]).collect()
}

#[test]
fn an_epoch_has_every_clip_once_but_for_the_last_partial_batch() {
    let loader = ClipLoader::new(videos(), config());
    assert_eq!((loader.clips(), loader.batches_per_epoch()), (26 + 21, 11));
    let batches = targets(loader.epoch(0));
    assert!(batches.iter().all(|batch| batch.len() == 4));
    let mut seen: Vec<u8> = batches.concat();
    assert_eq!(seen.len(), 44);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 44);
    assert!(seen.iter().all(|&frame| (4..30).contains(&frame) || (134..155).contains(&frame)));
}

#[test]
fn the_order_depends_on_seed_and_epoch_alone() {
    let loader = ClipLoader::new(videos(), config());
    let first = targets(loader.epoch(0));
    assert_eq!(first, targets(ClipLoader::new(videos(), config()).epoch(0)));
    assert_ne!(first, targets(loader.epoch(1)));
    let reseeded = ClipLoader::new(videos(), LoaderConfig { seed: 8, ..config() });
    assert_ne!(first, targets(reseeded.epoch(0)));
    let hurried = ClipLoader::new(videos(), LoaderConfig { prefetch: 9, ..config() });
    assert_eq!(first, targets(hurried.epoch(0)));
}

/// What a seed means outlives the generator's releases: a run goes on with a later program.
#[test]
fn the_order_of_a_seed_stays_as_it_was() {
    let first = targets(ClipLoader::new(videos(), config()).epoch(3).take(2));
    assert_eq!(first, [[138, 141, 153, 22], [8, 10, 15, 144]]);
}

#[test]
fn a_resumed_epoch_goes_on_where_it_stopped() {
    let loader = ClipLoader::new(videos(), config());
    let whole = targets(loader.epoch(3));
    let mut begun = loader.epoch(3);
    let head = targets(begun.by_ref().take(5));
    assert_eq!((&head[..], begun.position(), begun.len()), (&whole[..5], 5, 6));
    drop(begun);
    assert_eq!(targets(loader.epoch(3).skip_batches(5)), whole[5..]);
    let mut begun = loader.epoch(3);
    begun.next();
    assert_eq!(targets(begun.skip_batches(2)), whole[3..]);
    assert_eq!(loader.epoch(3).skip_batches(99).count(), 0);
}

#[test]
fn every_clip_has_a_companion_that_is_two_to_four_times_as_fast() {
    let config = LoaderConfig { sped_up: true, ..config() };
    let loader = ClipLoader::new(videos(), config);
    let batches: Vec<ClipBatch> = loader.epoch(3).map(Result::unwrap).collect();
    assert_eq!(
        targets(loader.epoch(3)),
        targets(ClipLoader::new(videos(), self::config()).epoch(3)),
        "companions change no order"
    );
    let mut strides = Vec::new();
    for batch in &batches {
        assert_eq!(batch.sped_up.len(), 4);
        for (clip, sped_up) in batch.clips.iter().zip(&batch.sped_up) {
            let (clip, sped_up) = (numbers(clip), numbers(sped_up));
            let stride = sped_up[1] - sped_up[0];
            assert!(sped_up.windows(2).all(|pair| pair[1] - pair[0] == stride), "{sped_up:?}");
            // The oldest frames of both videos are 0 and 130.
            let earliest = if clip[0] < 100 { 4 * stride } else { 130 + 4 * stride };
            assert_eq!(sped_up[4], clip[4].max(earliest));
            strides.push(stride);
        }
    }
    for stride in 2..=4 {
        let share = strides.iter().filter(|&&s| s == stride).count() as f64 / strides.len() as f64;
        assert!((0.15..0.55).contains(&share), "{share} of clips are {stride} times as fast");
    }
    let resumed: Vec<ClipBatch> = loader.epoch(3).skip_batches(5).map(Result::unwrap).collect();
    let companions = |batches: &[ClipBatch]| -> Vec<Vec<u8>> {
        batches.iter().flat_map(|batch| &batch.sped_up).map(numbers).collect()
    };
    assert_eq!(companions(&resumed), companions(&batches[5..]));
}

#[test]
fn a_short_video_speeds_up_as_far_as_it_reaches() {
    let video = |frames: usize| videos()[0].part(0..frames);
    let sped_up = |frames: usize, start: usize, stride: usize| {
        video(frames).sped_up_clip(config().shape, start, stride).unwrap().map(|it| numbers(&it))
    };
    assert_eq!(sped_up(30, 20, 3), Some(vec![12, 15, 18, 21, 24]));
    assert_eq!(sped_up(30, 2, 3), Some(vec![0, 3, 6, 9, 12]));
    assert_eq!(sped_up(12, 7, 4), Some(vec![3, 5, 7, 9, 11]));
    assert_eq!(sped_up(8, 3, 4), Some(vec![3, 4, 5, 6, 7]), "no stride of two fits");
    assert_eq!(sped_up(5, 0, 4), Some(vec![0, 1, 2, 3, 4]));
    assert_eq!(sped_up(4, 0, 4), None);
    assert_eq!(sped_up(10, 6, 2), None, "no clip begins there");
    // What is held out before or behind a part does not come in.
    let part = videos()[2].part(5..20);
    let of_part = part.sped_up_clip(config().shape, 0, 3).unwrap().unwrap();
    assert_eq!(numbers(&of_part), [135, 138, 141, 144, 147]);
}

#[test]
fn dropping_an_epoch_frees_its_videos() {
    let videos: std::sync::Arc<[DecodedVideo]> = videos().into();
    let loader = ClipLoader::new(std::sync::Arc::clone(&videos), config());
    let mut epoch = loader.epoch(0);
    assert!(epoch.next().is_some());
    drop(epoch);
    drop(loader);
    // The thread held the videos too; it has ended when the drop returns.
    assert_eq!(std::sync::Arc::strong_count(&videos), 1);
}

#[test]
fn too_few_clips_for_a_batch_give_none() {
    let loader = ClipLoader::new(videos()[1..2].to_vec(), config());
    assert_eq!((loader.clips(), loader.epoch(0).count()), (0, 0));
}

#[test]
fn in_order_every_target_is_named() {
    let videos = videos();
    let placed: Vec<_> = clips_in_order(&videos, config().shape).map(Result::unwrap).collect();
    assert_eq!(placed.len(), 47);
    for clip in &placed {
        let target = videos[clip.video].frame(clip.frame).unwrap();
        assert_eq!(clip.clip.target(), target.as_ref());
    }
    // Batches run across videos, and what they are made of is prepared on their thread.
    let ordered = OrderedConfig { shape: config().shape, batch_size: 5, prefetch: 2 };
    let here = std::thread::current().id();
    let prepare = move |placed| {
        assert_ne!(std::thread::current().id(), here);
        placed
    };
    let batches: Vec<_> =
        OrderedBatches::new(videos, ordered, prepare).map(Result::unwrap).collect();
    let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
    assert_eq!(sizes, [5, 5, 5, 5, 5, 5, 5, 5, 5, 2]);
    assert_eq!(batches.concat(), placed);
}

#[test]
fn batches_in_order_end_when_they_are_dropped() {
    let videos: std::sync::Arc<[DecodedVideo]> = videos().into();
    let ordered = OrderedConfig { shape: config().shape, batch_size: 1, prefetch: 1 };
    let mut batches = OrderedBatches::new(std::sync::Arc::clone(&videos), ordered, |placed| placed);
    assert!(batches.next().is_some());
    drop(batches);
    assert_eq!(std::sync::Arc::strong_count(&videos), 1);
}
