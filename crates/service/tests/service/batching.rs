//! Which clips share a forward pass, and that they score as they do alone.

use std::time::Duration;

use protoguard_core::ScorerError;
use protoguard_proto::v1;
use protoguard_service::ServiceConfig;
use protoguard_service::testing::FakeFactory;
use tokio::task::JoinSet;

use crate::bench::{Gate, Served, bounded, clip, config};
use crate::telemetry::until;

#[tokio::test]
async fn clips_that_wait_for_a_busy_worker_share_one_batch() {
    let (factory, mut gate) = Gate::before(FakeFactory::new("hall"));
    let served = Served::ready(factory, config()).await;
    let client = served.scoring().await;
    let score = |value| {
        let mut client = client.clone();
        async move { client.score_clip(clip(value)).await.unwrap().into_inner() }
    };
    let first = tokio::spawn(score(0));
    assert_eq!(gate.entered().await, [0]);
    let mut waiting = JoinSet::new();
    (1..=8).for_each(|value| drop(waiting.spawn(score(value))));
    // Eight clips of a full batch are handed over while the first still computes.
    until(|| served.metric(r#"protoguard_queue_clips{model="hall"}"#) == 8.0).await;
    gate.release();
    assert_eq!(bounded(first).await.unwrap().timings.unwrap().batch_size, 1);
    let mut batches = Vec::new();
    while batches.iter().map(Vec::len).sum::<usize>() < 8 {
        batches.push(gate.entered().await);
        gate.release();
    }
    assert!(batches.len() < 8, "no clip rode with another: {batches:?}");
    for response in bounded(waiting.join_all()).await {
        let timings = response.timings.unwrap();
        assert!(batches.iter().any(|batch| batch.len() == timings.batch_size as usize));
    }
    let mut values: Vec<u8> = batches.concat();
    values.sort_unstable();
    assert_eq!(values, (1..=8).collect::<Vec<u8>>());
    served.stop().await;
}

#[tokio::test]
async fn a_batch_scores_as_its_clips_alone() {
    let (factory, mut gate) = Gate::before(FakeFactory::new("hall"));
    let batched = Served::ready(factory, config()).await;
    let client = batched.scoring().await;
    let score = |value| {
        let mut client = client.clone();
        let request_id = "same".to_owned();
        let view = v1::View::Full as i32;
        let request = v1::ScoreClipRequest { view, request_id, ..clip(value) };
        async move { client.score_clip(request).await.unwrap().into_inner() }
    };
    let tasks: Vec<_> = (0..9).map(|value| tokio::spawn(score(value * 20))).collect();
    let mut seen = 0;
    while seen < tasks.len() {
        seen += gate.entered().await.len();
        gate.release();
    }
    let alone = Served::ready(FakeFactory::new("hall"), config()).await;
    let mut single = alone.scoring().await;
    for (value, task) in (0..9).zip(tasks) {
        let mut together = bounded(task).await.unwrap();
        let request_id = "same".to_owned();
        let view = v1::View::Full as i32;
        let request = v1::ScoreClipRequest { view, request_id, ..clip(value * 20) };
        let mut by_itself = single.score_clip(request).await.unwrap().into_inner();
        (together.timings, by_itself.timings) = (None, None);
        assert_eq!(together, by_itself);
    }
    alone.stop().await;
    batched.stop().await;
}

#[tokio::test]
async fn two_workers_compute_at_the_same_time() {
    let both = std::sync::Arc::new(std::sync::Barrier::new(2));
    let factory = FakeFactory::new("hall").on_score(move |_| {
        // Passes only when both workers are in it.
        both.wait();
        Ok::<(), ScorerError>(())
    });
    // Clips that come at the same moment would else share the batch of one worker.
    let mut alone = config();
    alone.batch.max_batch_size = 1;
    let mut served = Served::start(vec![factory.spec(2)], alone).await;
    assert!(bounded(&mut served.ready).await.unwrap());
    let mut first = served.scoring().await;
    let mut second = first.clone();
    let (a, b) =
        bounded(async { tokio::join!(first.score_clip(clip(1)), second.score_clip(clip(2))) })
            .await;
    assert!(a.is_ok() && b.is_ok());
    served.stop().await;
}

/// As on a CPU whose caches hold four clips.
fn cache_bound(batch: &[protoguard_core::ScorerInput]) -> Result<(), ScorerError> {
    let clips = batch.len() as u64;
    let ms = if clips <= 4 { 4 + clips } else { 5 * clips };
    std::thread::sleep(Duration::from_millis(ms));
    Ok(())
}

#[tokio::test]
async fn batches_are_kept_to_the_size_whose_clips_cost_the_least() {
    let factory = FakeFactory::new("hall").on_score(cache_bound);
    let fitted =
        ServiceConfig { warm_up_batch_sizes: vec![1, 2, 4, 8], fit_batch_size: true, ..config() };
    let served = Served::ready(factory, fitted).await;
    let client = served.scoring().await;
    let score = |value| {
        let mut client = client.clone();
        async move { client.score_clip(clip(value)).await.unwrap().into_inner() }
    };
    let answers = bounded((0..32).map(score).collect::<JoinSet<_>>().join_all()).await;
    let sizes: Vec<u32> = answers.iter().map(|answer| answer.timings.unwrap().batch_size).collect();
    assert!(sizes.iter().all(|&size| size <= 4), "{sizes:?}");
    assert!(sizes.contains(&4), "{sizes:?}");
    served.stop().await;
}
