//! The separation loss: what it weighs, what it leaves alone, and that it separates.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod fixture;

use fixture::gradient_magnitude;
use protoguard_checkpoint::{LossConfig, MemoryConfig, MemoryUpdate, ModelConfig};
use protoguard_core::{Clip, ClipShape, Frame};
use protoguard_model::{Batch, MemoryPass, Network, TrainingPass, losses};
use tch::nn::OptimizerConfig;
use tch::{Device, Kind, Tensor};

/// A clip whose lower half moves to the right by `pace` pixels a frame, and whose upper half stands
/// still. `phase` tells clips apart.
fn moving(shape: ClipShape, pace: usize, phase: usize) -> Clip {
    let side = shape.side();
    let frame = |index: usize| {
        let pixel = |at: usize| {
            let (y, x) = (at / side, (at % side + phase + 8 * side - index * pace) % side);
            if y < side / 2 { 90 } else { (x * 13 % 251) as u8 }
        };
        let pixels: Vec<u8> = (0..side * side).flat_map(|at| [pixel(at); 3]).collect();
        Frame::new(side, side, pixels).unwrap()
    };
    Clip::new(shape, (0..shape.frames()).map(frame).collect()).unwrap()
}

fn batch(clips: &[Clip]) -> Batch {
    Batch::from_clips(clips, Device::Cpu).unwrap()
}

fn separating(weight: f64, margin: f64) -> LossConfig {
    LossConfig { separation_weight: weight, separation_margin: margin, ..LossConfig::default() }
}

/// Two clips of unlike pace beside companions.
fn two(config: &ModelConfig) -> Batch {
    let clip = |pace, phase| moving(config.shape, pace, phase);
    batch(&[clip(1, 0), clip(2, 9)]).beside(batch(&[clip(3, 0), clip(4, 9)])).unwrap()
}

/// By hand for one clip: distances of unit vectors, weighted by the motion in squares of 8 pixels.
fn distance(batch: &Batch, memory: &MemoryPass, clip: i64) -> f64 {
    let squares: Tensor = 2.0 - memory.nearest_similarity().unwrap().get(clip) * 2.0;
    let moved = batch.difference().unwrap().get(clip).square();
    let moved = moved.mean_dim([0i64].as_slice(), false, None);
    let across = batch.shape().side() as i64 / 8;
    let cells = moved.reshape([across, 8, across, 8]).mean_dim([1i64, 3].as_slice(), false, None);
    let cells = cells.flatten(0, -1);
    assert!(cells.min().double_value(&[]) == 0.0, "half of the picture stands still");
    let weighted = (&cells * (squares + 1e-4).sqrt()).sum(Kind::Double);
    (weighted / cells.sum(Kind::Double)).double_value(&[])
}

/// A network, and what it makes of [`two`] clips.
fn trained_on_two() -> (Network, Batch, TrainingPass) {
    let config = fixture::config();
    let network = fixture::network(&config);
    let batch = two(&config);
    let pass = network.forward_training(&batch).unwrap();
    (network, batch, pass)
}

#[test]
fn what_companions_lack_is_weighted_by_what_moves_and_taken_by_clip() {
    let (_, batch, pass) = trained_on_two();
    let companions = batch.sped_up.as_ref().unwrap();
    let apart = [0, 1].map(|clip| {
        distance(&batch, pass.memory.as_ref().unwrap(), clip)
            - distance(companions, pass.sped_up.as_ref().unwrap(), clip)
    });
    assert!((apart[0] - apart[1]).abs() > 1e-4, "{apart:?}");
    let separation = |margin: f64| {
        let terms = losses::compute(&separating(0.5, margin), &batch, &pass).unwrap();
        let alone = losses::compute(&separating(0.0, margin), &batch, &pass).unwrap();
        assert!(alone.separation.is_none());
        let separation = terms.separation.unwrap().double_value(&[]);
        let added = terms.total.double_value(&[]) - alone.total.double_value(&[]);
        assert!((added - 0.5 * separation).abs() < 1e-4, "{added} for {separation}");
        separation
    };
    // A margin between the two: one clip has all that it needs, and lends the other none of it.
    let between = -0.5 * (apart[0] + apart[1]);
    for margin in [1.0, between.max(0.0)] {
        let expected = apart.map(|apart| (margin + apart).max(0.0)).iter().sum::<f64>() / 2.0;
        assert!((separation(margin) - expected).abs() < 1e-5, "{margin}: not {expected}");
    }
}

#[test]
fn its_gradient_reaches_the_encoder_alone() {
    let (network, batch, pass) = trained_on_two();
    let terms = losses::compute(&separating(1.0, 1.0), &batch, &pass).unwrap();
    terms.separation.unwrap().backward();
    assert!(gradient_magnitude(&network, "encoder.") > 0.0);
    assert_eq!(gradient_magnitude(&network, "prediction."), 0.0);
    assert_eq!(gradient_magnitude(&network, "motion."), 0.0);
}

#[test]
fn a_clip_in_which_nothing_moves_has_no_part_in_it() {
    let config = fixture::config();
    let network = fixture::network(&config);
    let clip = |pace| moving(config.shape, pace, 0);
    let still = batch(&[clip(0)]).beside(batch(&[clip(0)])).unwrap();
    let half = batch(&[clip(0), clip(1)]).beside(batch(&[clip(0), clip(1)])).unwrap();
    // Companions of the same pace lack the whole margin.
    for (batch, expected) in [(still, 0.0), (half, 0.5)] {
        let pass = network.forward_training(&batch).unwrap();
        let terms = losses::compute(&separating(1.0, 1.0), &batch, &pass).unwrap();
        let found = terms.separation.unwrap().double_value(&[]);
        assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
        assert!(terms.total.double_value(&[]).is_finite());
    }
}

/// Where every query lies about one item, the slope of a squared distance vanishes with the distance,
/// and a network that begins there stays there. That of a distance does not: 1 over the distance by
/// the similarity, for √(0.02² + 0.0001), and 100 at 0.
#[test]
fn queries_that_lie_on_one_item_are_drawn_apart_all_the_same() {
    let (_, batch, mut pass) = trained_on_two();
    for (distance, expected) in [(0.02f64, 44.721), (0.0, 100.0)] {
        let similarity = 1.0 - distance.powi(2) / 2.0;
        let mut similarities = Vec::new();
        for memory in [pass.memory.as_mut(), pass.sped_up.as_mut()].into_iter().flatten() {
            memory.similarity = memory.similarity.full_like(similarity).set_requires_grad(true);
            similarities.push(memory.similarity.shallow_clone());
        }
        let terms = losses::compute(&separating(1.0, 1.0), &batch, &pass).unwrap();
        terms.separation.unwrap().backward();
        let slopes = similarities.iter().map(|leaf| leaf.grad().sum(Kind::Double));
        let [normal, sped_up] = slopes.map(|sum| sum.double_value(&[])).collect::<Vec<_>>()[..]
        else {
            panic!("a clip and its companion")
        };
        assert!((sped_up / expected - 1.0).abs() < 1e-3, "{sped_up} at {distance}");
        assert!((normal / expected + 1.0).abs() < 1e-3, "{normal} at {distance}");
    }
}

/// With stored statistics no clip has a part in another's normalisation.
#[test]
fn companions_change_nothing_of_a_clip() {
    let mut network = fixture::network(&fixture::config());
    network.freeze_norm(true);
    let shape = fixture::config().shape;
    let clip = |pace| batch(&[moving(shape, pace, 0)]);
    let alone = network.forward_training(&clip(1)).unwrap();
    let beside = network.forward_training(&clip(1).beside(clip(3)).unwrap()).unwrap();
    let apart = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
    assert!(apart(&alone.prediction, &beside.prediction) < 1e-6);
    assert!(apart(&alone.z, &beside.z) < 1e-6);
    let read = |pass: &TrainingPass| pass.memory.as_ref().unwrap().items.shallow_clone();
    assert!(apart(&read(&alone), &read(&beside)) < 1e-6, "items follow the clips alone");
    let companion = beside.sped_up.as_ref().unwrap();
    assert!(apart(&companion.items, &read(&beside)) == 0.0, "both read the same items");
    let fast = network.forward_training(&clip(3)).unwrap();
    assert!(apart(&companion.query, &fast.memory.unwrap().query) < 1e-6);
}

#[test]
fn companions_that_are_no_companions_are_refused() {
    let shape = fixture::config().shape;
    let clip = |pace| moving(shape, pace, 0);
    let error = batch(&[clip(1), clip(2)]).beside(batch(&[clip(3)])).unwrap_err().to_string();
    let geometry = format!("{} past frames of {} pixels", shape.past_frames(), shape.side());
    let expected =
        format!("sped-up companion of clip 1 is 1 × {geometry}; 2 × {geometry} is expected");
    assert_eq!(error, expected);
}

#[test]
fn a_memory_that_is_gone_by_asks_for_no_companions() {
    let memory = MemoryConfig {
        update: MemoryUpdate::Ema,
        ema: protoguard_checkpoint::EmaConfig { warmup: 1, ..Default::default() },
        ..fixture::config().memory.unwrap()
    };
    let config = ModelConfig { memory: Some(memory), ..fixture::config() };
    let mut network = fixture::network(&config);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let pass = network.forward_training(&two(&config)).unwrap();
        seen.push(pass.sped_up.is_some());
        network.commit_memory(&pass).unwrap();
    }
    assert_eq!(seen, [false, true, true], "from the batch on that the items are made of");
    // Nor do they take part in the normalisation before it.
    let encoded = |batch: &Batch| fixture::network(&config).forward_training(batch).unwrap().z;
    let mut alone = two(&config);
    alone.sped_up = None;
    assert_eq!(encoded(&two(&config)), encoded(&alone));
}

#[test]
fn training_separates() {
    let mut network = fixture::network(&fixture::config());
    let batch = two(&fixture::config());
    let loss = separating(1.0, 1.0);
    let mut adam = tch::nn::Adam::default().build(network.variables(), 1e-3).unwrap();
    let mut step = || {
        let pass = network.forward_training(&batch).unwrap();
        let terms = losses::compute(&loss, &batch, &pass).unwrap();
        adam.backward_step(&terms.separation.as_ref().unwrap().shallow_clone());
        network.commit_memory(&pass).unwrap();
        terms.separation.unwrap().double_value(&[])
    };
    let first = step();
    let last = (0..60).map(|_| step()).last().unwrap();
    assert!(last < 0.5 * first, "{first} came to {last}");
}
