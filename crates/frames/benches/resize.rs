//! The one resizer, from the sizes that cameras send, and from below the model's side.

#![allow(clippy::unwrap_used, reason = "a bench without its frame has nothing to say")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use protoguard_core::Frame;
use protoguard_frames::resize;

const SIDE: usize = 256;
const SIZES: [Size; 3] = [
    Size { height: 432, width: 768 },
    Size { height: 1080, width: 1920 },
    Size { height: 128, width: 128 },
];

struct Size {
    height: usize,
    width: usize,
}

fn resizing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resize");
    for Size { height, width } in SIZES {
        let pixels: Vec<u8> = (0..height * width * 3).map(|i| (i * 31 % 251) as u8).collect();
        let frame = Frame::new(height, width, pixels).unwrap();
        group.bench_function(format!("{width}x{height}"), |bench| {
            bench.iter(|| resize(black_box(&frame), SIDE));
        });
    }
    group.finish();
}

criterion_group!(benches, resizing);
criterion_main!(benches);
