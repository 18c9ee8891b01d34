//! What a stream does to every frame for the camera's own state, beside its decoding.

#![allow(clippy::unwrap_used, reason = "a frame that cannot be made has no time")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use protoguard_core::{Frame, Look};

const SIDE: usize = 256;

fn frame(seed: usize) -> Frame {
    let pixels = (0..SIDE * SIDE * 3).map(|at| (at * 7 + at / 768 * 13 + seed * 31) as u8);
    Frame::new(SIDE, SIDE, pixels.collect::<Vec<_>>()).unwrap()
}

fn looks(criterion: &mut Criterion) {
    let (before, now) = (frame(1), frame(2));
    criterion.bench_function("look of 256x256", |bencher| {
        bencher.iter(|| Look::of(black_box(&now), Some(black_box(&before))));
    });
}

criterion_group!(benches, looks);
criterion_main!(benches);
