//! What the batcher costs a clip: the decision alone, and the queue that callers take turns in
//! filled and emptied as the policy says.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protoguard_service::testing::batches_of;
use protoguard_service::{BatchPolicy, QueueView};

const POLICY: BatchPolicy = BatchPolicy { max_batch_size: 8, max_batch_delay: Duration::ZERO };
const CLIPS: u64 = 256;

fn deciding(criterion: &mut Criterion) {
    let view = QueueView {
        waiting: 5,
        oldest_wait: Duration::from_millis(1),
        arriving: 1,
        idle_worker: true,
        open_slot: false,
    };
    criterion.bench_function("batch_policy/decide", |bench| {
        bench.iter(|| POLICY.decide(black_box(&view)));
    });
}

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

criterion_group!(benches, deciding, dispatching);
criterion_main!(benches);
