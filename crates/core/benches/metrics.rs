//! The metrics of an evaluation over a million frames, which is days of video.

#![allow(clippy::unwrap_used, reason = "a metric that is not defined has no time")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use protoguard_core::metrics::{average_precision, equal_error_rate, rates_above, roc_auc};

const FRAMES: u64 = 1_000_000;

/// Scores in [0, 1) in no order, one frame in five abnormal and higher by a tenth.
fn scored_frames() -> (Vec<f64>, Vec<bool>) {
    let labels: Vec<bool> = (0..FRAMES).map(|frame| frame % 5 == 0).collect();
    let scores = (0..FRAMES).zip(&labels).map(|(frame, &label)| {
        let noise = frame.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11;
        (noise as f64 / (1u64 << 53) as f64).mul_add(0.9, if label { 0.1 } else { 0.0 })
    });
    (scores.collect(), labels)
}

fn metrics(criterion: &mut Criterion) {
    let (scores, labels) = scored_frames();
    let mut group = criterion.benchmark_group("metrics");
    group.sample_size(20);
    group.bench_function("roc_auc", |bench| {
        bench.iter(|| roc_auc(black_box(&scores), &labels).unwrap());
    });
    group.bench_function("average_precision", |bench| {
        bench.iter(|| average_precision(black_box(&scores), &labels).unwrap());
    });
    group.bench_function("equal_error_rate", |bench| {
        bench.iter(|| equal_error_rate(black_box(&scores), &labels).unwrap());
    });
    group.bench_function("rates_above", |bench| {
        bench.iter(|| rates_above(black_box(&scores), &labels, 0.5).unwrap());
    });
    group.finish();
}

criterion_group!(benches, metrics);
criterion_main!(benches);
