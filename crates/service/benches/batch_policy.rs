//! What the batcher costs a clip: the queue that callers take turns in, filled and emptied batch by
//! batch.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protoguard_service::BatchPolicy;
use protoguard_service::testing::batches_of;

const POLICY: BatchPolicy = BatchPolicy { max_batch_size: 8 };
const CLIPS: u64 = 256;

fn dispatching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch_policy/dispatch");
    group.throughput(Throughput::Elements(CLIPS));
    for callers in [1, 16, 128] {
        group.bench_function(format!("{callers}_callers"), |bench| {
            bench.iter(|| batches_of(POLICY, black_box(CLIPS), callers));
        });
    }
    group.finish();
}

criterion_group!(benches, dispatching);
criterion_main!(benches);
