//! The memory's arithmetic on queries made for the purpose.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod fixture;

use std::collections::BTreeMap;

use protoguard_checkpoint::{Array, MemoryConfig, ModelConfig, UpdateScope, Within};
use protoguard_core::ClipShape;
use protoguard_model::{HealthMeter, MemoryPass, Network, Scatter, scores, to_array};
use tch::{Device, Kind, Tensor};

const CHANNELS: i64 = 16;

fn network(memory: MemoryConfig) -> Network {
    let shape = ClipShape::new(1, 32).unwrap(); // K = 16
    let config =
        ModelConfig { shape, base_width: 2, motion_branch: false, ..ModelConfig::default() };
    let config = ModelConfig { memory: Some(memory), ..config };
    fixture::network(&config)
}

fn memory(items: usize) -> MemoryConfig {
    MemoryConfig { items, ..MemoryConfig::default() }
}

fn set_items(network: &mut Network, items: &Tensor) {
    let mut arrays: BTreeMap<String, Array> = network.to_arrays().unwrap();
    arrays.insert("memory.items".to_owned(), to_array(items).unwrap());
    network.load_arrays(&arrays).unwrap();
}

/// `[B, C, H, H]` of random directions.
fn random_z(batch: i64) -> Tensor {
    fixture::seeded(5, || Tensor::randn([batch, CHANNELS, 4, 4], (Kind::Float, Device::Cpu)))
}

fn recall(network: &Network, z: &Tensor) -> MemoryPass {
    network.recall(z).unwrap().memory.unwrap()
}

fn values(x: &Tensor) -> Vec<f64> {
    Vec::<f64>::try_from(&x.flatten(0, -1).to_kind(Kind::Double)).unwrap()
}

fn close(a: &Tensor, b: &Tensor, tolerance: f64) -> bool {
    values(a).iter().zip(values(b)).all(|(a, b)| (a - b).abs() <= tolerance * b.abs().max(1.0))
}

/// `Tr(S_W)` and `Tr(S_B)` of one clip from C × C matrices (Eq. 13, 15, 16).
fn explicit_traces(pass: &MemoryPass, clip: i64, within: Within) -> [f64; 2] {
    let query = pass.query.get(clip).to_kind(Kind::Double);
    let items = pass.items.to_kind(Kind::Double);
    let mean = items.mean_dim([0i64].as_slice(), false, None);
    let assignment = Vec::<i64>::try_from(&pass.assignment.get(clip)).unwrap();
    let square = || Tensor::zeros([CHANNELS, CHANNELS], (Kind::Double, Device::Cpu));
    let (mut s_w, mut s_b) = (square(), square());
    for item in 0..items.size()[0] {
        let members: Vec<i64> =
            (0i64..).zip(&assignment).filter(|(_, a)| **a == item).map(|(i, _)| i).collect();
        let n = members.len() as f64;
        if members.is_empty() {
            continue;
        }
        let spread = query.index_select(0, &Tensor::from_slice(&members)) - items.get(item);
        let share = n / assignment.len() as f64;
        let cluster = if within == Within::Mean { share / n } else { share };
        s_w += spread.tr().matmul(&spread) * cluster;
        let offset = (items.get(item) - &mean).unsqueeze(0);
        s_b += offset.tr().matmul(&offset) * share;
    }
    [s_w.trace().double_value(&[]), s_b.trace().double_value(&[])]
}

#[test]
fn traces_are_those_of_the_explicit_matrices() {
    for normalize_query in [true, false] {
        let network = network(MemoryConfig { normalize_query, ..memory(5) });
        let pass = recall(&network, &random_z(3));
        for within in [Within::Paper, Within::Mean] {
            let scatter = Scatter::of(&pass, within).unwrap();
            for clip in 0..3 {
                let [s_w, s_b] = explicit_traces(&pass, clip, within);
                let found = [&scatter.within, &scatter.between].map(|x| x.double_value(&[clip]));
                assert!((found[0] - s_w).abs() < 1e-4 * s_w, "{found:?} against {s_w}");
                assert!((found[1] - s_b).abs() < 1e-4 * s_b, "{found:?} against {s_b}");
            }
        }
    }
}

#[test]
fn the_order_of_items_means_nothing() {
    let mut network = network(memory(5));
    let z = random_z(2);
    let plain = recall(&network, &z);
    let order = Tensor::from_slice(&[3i64, 0, 4, 1, 2]);
    let items = network.memory().unwrap().items().index_select(0, &order);
    set_items(&mut network, &items);
    let permuted = recall(&network, &z);
    let [a, b] = [&plain, &permuted].map(|pass| Scatter::of(pass, Within::Paper).unwrap());
    assert!(close(&a.within, &b.within, 1e-5) && close(&a.between, &b.between, 1e-5));
    assert!(close(&a.ratio().unwrap(), &b.ratio().unwrap(), 1e-5));
    assert!(close(&plain.z_hat(&z).unwrap(), &permuted.z_hat(&z).unwrap(), 1e-5));
    assert!(close(&plain.counts.index_select(1, &order), &permuted.counts, 0.0));
}

#[test]
fn a_tie_goes_to_the_lowest_index() {
    let mut network = network(memory(4));
    let mut rows = vec![[0.0f32; CHANNELS as usize]; 4];
    rows[0][1] = 1.0;
    rows[1][0] = 1.0; // items 1, 2 and 3 are the same
    rows[2][0] = 1.0;
    rows[3][0] = 1.0;
    set_items(&mut network, &Tensor::from_slice2(&rows));
    let pass = recall(&network, &random_z(2));
    let assignment = values(&pass.assignment);
    assert!(assignment.iter().all(|&a| a == 0.0 || a == 1.0), "{assignment:?}");
    assert!(assignment.contains(&0.0) && assignment.contains(&1.0));
    assert_eq!(values(&pass.counts.sum(Kind::Float)), [32.0]);
}

/// The memory's state after 60 updates by queries in three clusters of directions.
fn after_updates(config: MemoryConfig) -> protoguard_checkpoint::MemoryHealth {
    let mut network = network(config);
    let mut pass = None;
    for step in 0..60 {
        let float = (Kind::Float, Device::Cpu);
        let noise = fixture::seeded(step, || Tensor::randn([2, CHANNELS, 4, 4], float)) * 0.1;
        let cluster = Tensor::arange(16, (Kind::Int64, Device::Cpu)).fmod(3);
        let centres = Tensor::eye(CHANNELS, (Kind::Float, Device::Cpu)).index_select(0, &cluster);
        let z = centres.tr().reshape([1, CHANNELS, 4, 4]) + noise;
        let memory = network.memory().unwrap();
        let next = memory.update_and_read(&z).unwrap();
        let items = next.items.copy();
        set_items(&mut network, &items);
        pass = Some(next);
    }
    pass.unwrap().health().unwrap()
}

#[test]
fn the_literal_update_collapses_and_nearest_does_not() {
    let literal = MemoryConfig { update_scope: UpdateScope::All, update_rate: 0.5, ..memory(10) };
    let collapsed = after_updates(literal);
    assert!(collapsed.mean_pairwise_cosine > 0.99, "{collapsed:?}");
    assert!(collapsed.warning().is_some(), "{collapsed:?}");
    let alive = after_updates(memory(10));
    assert!(alive.items_in_use >= 3 && alive.perplexity > 2.5, "{alive:?}");
    assert!(alive.mean_pairwise_cosine < 0.7 && alive.warning().is_none(), "{alive:?}");
}

#[test]
fn items_without_queries_stay_exactly_as_they_are() {
    let network = network(memory(30));
    let before = network.memory().unwrap().items();
    let after = network.memory().unwrap().update_and_read(&random_z(1)).unwrap();
    // Ownership before the update decides, which reading the old items shows.
    let counts = values(&recall(&network, &random_z(1)).counts);
    assert!(counts.contains(&0.0));
    for (item, count) in (0i64..).zip(counts) {
        let moved = before.get(item) != after.items.get(item);
        assert_eq!(moved, count > 0.0, "item {item} with {count} queries");
    }
}

#[test]
fn a_query_of_zeros_is_no_nan() {
    let network = network(memory(4));
    let z = Tensor::zeros([1, CHANNELS, 4, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let pass = network.memory().unwrap().update_and_read(&z).unwrap();
    let z_hat = pass.z_hat(&z).unwrap();
    assert!(values(&z_hat).iter().all(|v| v.is_finite()));
    z_hat.square().sum(Kind::Float).backward();
    assert!(values(&z.grad()).iter().all(|v| v.is_finite()));
}

#[test]
fn temperature_sharpens_the_read() {
    let entropy = |temperature| {
        let network = network(MemoryConfig { temperature, ..memory(6) });
        let z = random_z(1);
        let pass = recall(&network, &z);
        let weights = (&pass.similarity / temperature).softmax(-1, None);
        let z_hat = weights.matmul(&pass.items).transpose(-1, -2);
        assert!(close(&pass.z_hat(&z).unwrap().flatten(2, 3), &z_hat, 1e-5));
        -(&weights * weights.log()).sum(Kind::Double).double_value(&[])
    };
    assert!(entropy(0.05) < 0.5 * entropy(1.0));
}

#[test]
fn scores_of_known_queries() {
    let mut network = network(memory(2));
    let mut rows = vec![[0.0f32; CHANNELS as usize]; 2];
    rows[0][0] = 1.0;
    rows[1][1] = 1.0;
    set_items(&mut network, &Tensor::from_slice2(&rows));
    // Half of the queries on item 0, the others opposite to everything: d = 0 to both items.
    let z = Tensor::zeros([1, CHANNELS, 4, 4], (Kind::Float, Device::Cpu));
    let _ = z.narrow(1, 0, 1).narrow(2, 0, 2).fill_(3.0);
    let _ = z.narrow(1, 7, 1).narrow(2, 2, 2).fill_(-2.0);
    let pass = recall(&network, &z);
    let distance = scores::feature_distance(&pass).unwrap().double_value(&[0]);
    assert!((distance - 0.5 * 2f64.sqrt()).abs() < 1e-6, "{distance}");
    let map = scores::feature_distance_map(&pass).unwrap();
    assert_eq!(map.size(), [1, 4, 4]);
    assert_eq!(values(&map)[..8], [0.0; 8], "rows of the picture, from the top");
    assert!(values(&map)[8..].iter().all(|d| (d - 2f64.sqrt()).abs() < 1e-6));
    let cosine = scores::query_cosine(&pass).unwrap().double_value(&[0]);
    assert!((cosine - 0.5).abs() < 1e-6);
    // Two orthogonal items have a cosine of 1/sqrt(2) to their mean.
    let sum = scores::item_cosine_sum(network.memory().unwrap().items()).unwrap();
    assert!((sum - 2f64.sqrt()).abs() < 1e-6);
}

#[test]
fn the_meter_pools_batches() {
    let network = network(memory(5));
    let (one, two) = (recall(&network, &random_z(1)), recall(&network, &random_z(2)));
    let mut meter = HealthMeter::new();
    assert_eq!(meter.read().unwrap(), None);
    meter.observe(&one).unwrap();
    meter.observe(&two).unwrap();
    let pooled = meter.read().unwrap().unwrap();
    let [a, b] = [one.health().unwrap(), two.health().unwrap()];
    let expected = (a.within_trace + 2.0 * b.within_trace) / 3.0;
    assert!((pooled.within_trace - expected).abs() < 1e-6);
    assert!(pooled.largest_count >= a.largest_count.max(b.largest_count));
    let gram = network.memory().unwrap().items();
    let gram = gram.matmul(&gram.tr());
    let cosine = (gram.sum(Kind::Double).double_value(&[]) - 5.0) / 20.0;
    assert!((pooled.mean_pairwise_cosine - cosine).abs() < 1e-5);
}
