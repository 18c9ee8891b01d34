//! The memory on numbers that can be followed by hand.

use protoguard_checkpoint::EmaConfig;
use tch::{Device, nn};

use super::*;

const CHANNELS: i64 = 6;

fn codebook(items: usize, ema: EmaConfig) -> MemoryConfig {
    MemoryConfig { items, update: MemoryUpdate::Ema, ema, ..MemoryConfig::default() }
}

fn memory(config: &MemoryConfig) -> Memory {
    Memory::new(&nn::VarStore::new(Device::Cpu).root(), config, CHANNELS as usize).unwrap()
}

/// `[1, C, 1, K]` of rows.
fn bottleneck(rows: &[[f32; CHANNELS as usize]]) -> Tensor {
    let rows = Tensor::from_slice2(rows);
    rows.transpose(0, 1).reshape([1, CHANNELS, 1, -1])
}

fn axis(index: usize, length: f32) -> [f32; CHANNELS as usize] {
    let mut row = [0.0; CHANNELS as usize];
    row[index] = length;
    row
}

fn step(memory: &mut Memory, z: &Tensor) -> Option<MemoryPass> {
    let pass = memory.train(z).unwrap();
    memory.commit(z, pass.as_ref()).unwrap();
    pass
}

fn difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

/// Queries around `clusters` centres in unequal numbers: cluster j has about 2^-j of them.
fn mixture(clusters: i64, seed: i64) -> Tensor {
    let place = |i: i64| (mix_in(seed, i) % 1000) as f64 / 500.0 - 1.0;
    let row = |i: i64| {
        let cluster = (i + 1).trailing_zeros() as usize % clusters as usize;
        let mut row = axis(cluster, 2.0 + cluster as f32);
        for (channel, value) in row.iter_mut().enumerate() {
            *value += 0.3 * place(CHANNELS * i + channel as i64) as f32;
        }
        row
    };
    bottleneck(&(0..128).map(row).collect::<Vec<_>>())
}

fn mix_in(seed: i64, index: i64) -> u64 {
    let mut z = (seed as u64 + 1).wrapping_mul(0x9e37_79b9).wrapping_add(index as u64);
    z = (z ^ (z >> 15)).wrapping_mul(0x2c1b_3c6d_4f1a_9e37);
    z ^ (z >> 29)
}

/// A query of NaN is like no item: it counts as the last one's, until a loss or a score shows it.
#[test]
fn a_query_of_nan_has_an_item_that_there_is() {
    let nan = f32::NAN;
    let similarity = Tensor::from_slice2(&[[nan, nan, nan], [0.1, 0.5, 0.5], [nan, 0.2, 0.1]]);
    let assignment = assign(&similarity).unwrap();
    assert_eq!(Vec::<i64>::try_from(&assignment).unwrap(), [2, 1, 2]);
    let counts = count(&assignment.unsqueeze(0), &similarity.unsqueeze(0)).unwrap();
    assert_eq!(Vec::<f32>::try_from(counts.squeeze()).unwrap(), [0.0, 1.0, 2.0]);
}

#[test]
fn items_follow_their_queries_mean() {
    let mut memory = memory(&codebook(2, EmaConfig { decay: 0.5, ..EmaConfig::default() }));
    let items = Tensor::from_slice2(&[axis(0, 1.0), axis(1, 1.0)]);
    memory.items.set_data(&items.copy());
    memory.start_from_items().unwrap();
    let mut slanted = axis(0, 0.6);
    slanted[2] = 0.8;
    let pass = step(&mut memory, &bottleneck(&[slanted, axis(1, 7.0), slanted, slanted])).unwrap();
    assert_eq!(pass.items, items, "a batch reads what the last one left");
    // 0.5 e0 + 0.5 · 3 (0.6 e0 + 0.8 e2) over 0.5 + 0.5 · 3, as a unit vector.
    let norm = f32::hypot(1.4, 1.2);
    let mut expected = axis(0, 1.4 / norm);
    expected[2] = 1.2 / norm;
    let expected = Tensor::from_slice2(&[expected, axis(1, 1.0)]);
    assert!(difference(&memory.items, &expected) < 1e-6);
}

#[test]
fn raw_queries_keep_their_lengths_but_for_one_scale() {
    let config = codebook(2, EmaConfig { decay: 0.5, ..EmaConfig::default() });
    let mut memory = memory(&MemoryConfig { normalize_query: false, ..config });
    // Root mean square of 3, 3, 3, 9 is sqrt(27).
    let z = bottleneck(&[axis(0, 3.0), axis(0, 3.0), axis(0, 3.0), axis(0, 9.0)]);
    let pass = step(&mut memory, &z).unwrap();
    let scale = 27f64.sqrt();
    let stored = memory.scale.as_ref().unwrap().double_value(&[0]);
    assert!((stored - scale).abs() < 1e-6, "{stored}");
    assert!((pass.items.double_value(&[1, 0]) - 9.0 / scale).abs() < 1e-6);
    // A slow and a fast one along the same direction are told apart.
    let pass = memory.read(&bottleneck(&[axis(0, 3.0), axis(0, 12.0)])).unwrap();
    let mean = crate::scores::feature_distance(&pass).unwrap().double_value(&[0]);
    assert!((mean - 1.5 / scale).abs() < 1e-6, "{mean}: half of 0 and (12 - 9) / scale");
    let similarity = pass.nearest_similarity().unwrap().double_value(&[0, 1]);
    assert!((similarity - (1.0 - 9.0 / 27.0 / 2.0)).abs() < 1e-6);
    let squares = crate::scatter::squared_distances(&pass).unwrap();
    assert!((squares.double_value(&[0, 1]) - 9.0 / 27.0).abs() < 1e-6);
    // Twice as long, half the weight: sqrt((27 + 108) / 2).
    step(&mut memory, &(z * 2.0));
    let stored = memory.scale.as_ref().unwrap().double_value(&[0]);
    assert!((stored - 67.5f64.sqrt()).abs() < 1e-5, "{stored}");
}

#[test]
fn the_first_batch_spreads_the_items() {
    let mut memory = memory(&codebook(3, EmaConfig { warmup: 1, ..EmaConfig::default() }));
    let mut near = axis(0, 1.0);
    near[1] = 0.1;
    let z = bottleneck(&[axis(0, 2.0), near, axis(1, 1.0), near, axis(0, -5.0)]);
    assert!(!memory.has_started());
    assert!(step(&mut memory, &z).is_none() && !memory.has_started(), "a warm-up of one batch");
    let pass = step(&mut memory, &z).unwrap();
    let expected = Tensor::from_slice2(&[axis(0, 1.0), axis(0, -1.0), axis(1, 1.0)]);
    assert!(difference(&pass.items, &expected) < 1e-6);
    assert!(memory.has_started() && difference(&memory.items, &expected) < 1e-6);
    let [sums, sizes, counter] = memory.training_buffers().try_into().unwrap();
    let names = [&sums, &sizes, &counter].map(|buffer| buffer.name.as_str());
    assert_eq!(names, ["memory.ema.sums", "memory.ema.sizes", "memory.ema.counter"]);
    // Five queries in even shares of three items.
    assert!(difference(&sizes.tensor, &Tensor::from_slice(&[5f32 / 3.0; 3])) < 1e-6);
    assert!(difference(&sums.tensor, &(expected * 5.0 / 3.0)) < 1e-6);
    assert_eq!(counter.tensor.int64_value(&[0]), 2);
}

#[test]
fn an_idle_item_takes_a_querys_place() {
    let run = |restart| {
        tch::manual_seed(5);
        let mut memory = memory(&codebook(2, EmaConfig { decay: 0.0, restart, warmup: 0 }));
        memory.items.set_data(&Tensor::from_slice2(&[axis(0, 1.0), axis(5, 1.0)]));
        memory.start_from_items().unwrap();
        let mut slanted = axis(0, 0.8);
        slanted[3] = 0.6;
        step(&mut memory, &bottleneck(&[axis(0, 1.0), slanted, slanted, slanted]));
        let codebook = memory.codebook.as_ref().unwrap();
        (memory.items.copy(), Vec::<f32>::try_from(&codebook.tensors()[1].tensor).unwrap())
    };
    let (items, sizes) = run(0.02);
    assert_eq!(sizes, [4.0, 2.0], "the mean count");
    let first = items.double_value(&[1, 0]);
    assert!((first - 1.0).abs() < 1e-6 || (first - 0.8).abs() < 1e-6, "{first}");
    assert_eq!(run(0.02).0, items, "the seed decides which");
    let (kept, sizes) = run(0.0);
    assert_eq!(sizes, [4.0, 0.0]);
    assert_eq!(kept.get(1), Tensor::from_slice(&axis(5, 1.0)));
}

#[test]
fn running_means_stay_in_use_where_the_literal_update_collapses() {
    let health = |config: &MemoryConfig| {
        let mut memory = memory(config);
        let passes = (0..80).map(|seed| step(&mut memory, &mixture(5, seed)));
        passes.last().unwrap().unwrap().health().unwrap()
    };
    tch::manual_seed(2);
    let literal = MemoryConfig {
        items: 16,
        update_scope: UpdateScope::All,
        update_rate: 0.5,
        ..MemoryConfig::default()
    };
    let collapsed = health(&literal);
    assert!(collapsed.perplexity < 2.0 && collapsed.warning().is_some(), "{collapsed:?}");
    for normalize_query in [true, false] {
        let config = codebook(16, EmaConfig::default());
        let alive = health(&MemoryConfig { normalize_query, ..config });
        assert!(alive.items_in_use >= 14 && alive.perplexity > 8.0, "{alive:?}");
        assert!(alive.mean_pairwise_cosine < 0.5 && alive.warning().is_none(), "{alive:?}");
    }
}

#[test]
fn a_frozen_memory_reads_as_the_trained_one() {
    let config = MemoryConfig { normalize_query: false, ..codebook(4, EmaConfig::default()) };
    let mut memory = memory(&config);
    step(&mut memory, &mixture(3, 0));
    let frozen = memory.frozen().unwrap();
    let z = mixture(3, 1);
    let before = memory.read(&z).unwrap();
    assert_eq!(frozen.read(&z).unwrap().similarity, before.similarity);
    step(&mut memory, &z);
    assert_eq!(frozen.read(&z).unwrap().similarity, before.similarity);
    assert!(difference(&memory.read(&z).unwrap().similarity, &before.similarity) > 1e-5);
}
