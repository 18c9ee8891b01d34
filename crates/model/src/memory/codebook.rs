//! Items that are running means of the queries nearest to them.

use protoguard_checkpoint::{EmaConfig, MemoryConfig};
use tch::{Device, Kind, Tensor};

use super::pass::MemoryPass;
use super::vectors::{Metric, normalize_rows};
use crate::error::Result;
use crate::named_tensor::NamedTensor;

/// Running count under which an item's mean is not taken: its sums have faded.
const MIN_SIZE: f64 = 1e-6;

/// What training keeps beside the items of [`protoguard_checkpoint::MemoryUpdate::Ema`]. A checkpoint needs none of
/// it, a run that goes on later all.
#[derive(Debug)]
pub(super) struct Codebook {
    config: EmaConfig,
    metric: Metric,
    /// Running sums of each item's queries, `[N, C]`.
    sums: Tensor,
    /// Running counts of each item's queries, `[N]`.
    sizes: Tensor,
    /// Batches so far, and what random choices follow from: `[2]` i64 on the CPU, where reading it
    /// waits for nothing.
    counter: Tensor,
}

impl Codebook {
    /// For items `[N, C]`, before the first batch. Draws a seed from libtorch's generator.
    pub(super) fn new(config: &MemoryConfig, items: &Tensor) -> Result<Self> {
        let seed = Tensor::f_randint(i64::MAX, [1], (Kind::Int64, Device::Cpu))?;
        let batches = Tensor::f_zeros([1], (Kind::Int64, Device::Cpu))?;
        Ok(Self {
            config: config.ema.clone(),
            metric: Metric::of(config),
            sums: items.f_zeros_like()?,
            sizes: Tensor::f_zeros([items.size2()?.0], (items.kind(), items.device()))?,
            counter: Tensor::f_cat(&[batches, seed], 0)?,
        })
    }

    pub(super) fn tensors(&self) -> Vec<NamedTensor> {
        let named = |name: &str, tensor: &Tensor| NamedTensor {
            name: format!("memory.ema.{name}"),
            tensor: tensor.shallow_clone(),
        };
        vec![
            named("sums", &self.sums),
            named("sizes", &self.sizes),
            named("counter", &self.counter),
        ]
    }

    /// Batches so far.
    pub(super) fn batches(&self) -> u64 {
        self.counter.int64_value(&[0]).unsigned_abs()
    }

    /// Whether the next batch goes by the memory.
    pub(super) fn is_warming(&self) -> bool {
        self.batches() < self.config.warmup
    }

    /// Whether the items were spread over a batch's queries.
    pub(super) fn has_started(&self) -> bool {
        self.batches() > self.config.warmup
    }

    /// Goes on from items that come from elsewhere, all in even use.
    pub(super) fn start_from(&mut self, items: &Tensor) -> Result<()> {
        let _ = self.counter.get(0).f_fill_(self.config.warmup as i64)?;
        self.start(items, 1.0)
    }

    fn start(&mut self, items: &Tensor, share: f64) -> Result<()> {
        self.sums.f_copy_(&items.f_mul_scalar(share)?)?;
        let _ = self.sizes.f_fill_(share)?;
        self.count()
    }

    /// A batch went by.
    pub(super) fn count(&mut self) -> Result<()> {
        let _ = self.counter.get(0).f_add_scalar_(1)?;
        Ok(())
    }

    /// Items spread over queries `[B, K, C]`: the first query, then always the one that is farthest
    /// from those chosen (Gonzalez 1985).
    pub(super) fn spread(&self, query: &Tensor) -> Result<Tensor> {
        let (items, channels) = self.sums.size2()?;
        let query = query.f_detach()?.f_reshape([-1, channels])?;
        let mut chosen = vec![query.f_narrow(0, 0, 1)?];
        let mut nearest = squared_distance(&query, &chosen[0])?;
        while (chosen.len() as i64) < items {
            let farthest = nearest.f_argmax(0, true)?;
            let next = query.f_index_select(0, &farthest)?;
            nearest = nearest.f_minimum(&squared_distance(&query, &next)?)?;
            chosen.push(next);
        }
        Ok(Tensor::f_cat(&chosen, 0)?)
    }

    /// The items after a batch, `[N, C]`.
    pub(super) fn follow(&mut self, pass: &MemoryPass, items: &Tensor) -> Result<Tensor> {
        let (count, channels) = items.size2()?;
        let query = pass.query.f_detach()?.f_reshape([-1, channels])?; // [B K, C]
        if !self.has_started() {
            self.start(&pass.items, query.size2()?.0 as f64 / count as f64)?;
            return Ok(pass.items.shallow_clone());
        }
        let kind = query.kind();
        let members = pass.assignment.f_reshape([-1])?.f_one_hot(count)?.f_to_kind(kind)?;
        let blend = |running: &Tensor, of_batch: &Tensor| -> Result<Tensor> {
            let kept = running.f_to_kind(kind)?.f_mul_scalar(self.config.decay)?;
            Ok(kept.f_add(&of_batch.f_mul_scalar(1.0 - self.config.decay)?)?)
        };
        let sizes =
            blend(&self.sizes, &members.f_sum_dim_intlist([0i64].as_slice(), false, None)?)?;
        let sums = blend(&self.sums, &members.f_transpose(0, 1)?.f_matmul(&query)?)?;
        let Running { sums, sizes } = self.restart(Running { sums, sizes }, &query)?;
        self.sums.f_copy_(&sums)?;
        self.sizes.f_copy_(&sizes)?;
        self.count()?;
        let sizes = sizes.f_unsqueeze(1)?;
        let mut means = sums.f_div(&sizes.f_clamp_min(MIN_SIZE)?)?;
        if self.metric == Metric::Unit {
            means = normalize_rows(&means)?;
        }
        Ok(means.f_where_self(&sizes.f_gt(MIN_SIZE)?, items)?)
    }

    /// Puts items that are hardly used at random queries of the batch, with the mean count.
    fn restart(&self, running: Running, query: &Tensor) -> Result<Running> {
        if self.config.restart == 0.0 {
            return Ok(running);
        }
        let Running { sums, sizes } = running;
        let mean = sizes.f_mean(None)?;
        let idle = sizes.f_lt_tensor(&mean.f_mul_scalar(self.config.restart)?)?; // [N]
        let places = self.random_places(sizes.size1()?, query.size2()?.0);
        let places = Tensor::f_from_slice(&places)?.f_to_device(query.device())?;
        let fresh = query.f_index_select(0, &places)?.f_mul(&mean)?;
        Ok(Running {
            sums: fresh.f_where_self(&idle.f_unsqueeze(1)?, &sums)?,
            sizes: mean.f_where_self(&idle, &sizes)?,
        })
    }

    /// One of `queries` for each item, from the seed and the number of batches alone, so that a run
    /// that goes on later chooses the same.
    fn random_places(&self, items: i64, queries: i64) -> Vec<i64> {
        let seed = self.counter.int64_value(&[1]).unsigned_abs();
        let start = mix(seed ^ mix(self.batches()));
        let place = |item: u64| (mix(start.wrapping_add(item)) % queries.unsigned_abs()) as i64;
        (0..items.unsigned_abs()).map(place).collect()
    }
}

struct Running {
    sums: Tensor,
    sizes: Tensor,
}

/// `[n, C]` and `[1, C]` → `[n]`.
fn squared_distance(query: &Tensor, item: &Tensor) -> Result<Tensor> {
    let square = query.f_sub(item)?.f_square()?;
    Ok(square.f_sum_dim_intlist([-1i64].as_slice(), false, None)?)
}

/// SplitMix64's output function (Steele 2014).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vigna's reference gives these for the states after a seed of 0.
    #[test]
    fn mixing_is_that_of_splitmix64() {
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn places_follow_from_the_seed_and_the_number_of_batches() {
        let config = MemoryConfig { items: 6, ..MemoryConfig::default() };
        let items = Tensor::zeros([6, 2], (Kind::Float, Device::Cpu));
        let mut codebook = Codebook::new(&config, &items).unwrap();
        let mut places = |batches: i64, seed: i64| {
            codebook.counter = Tensor::from_slice(&[batches, seed]);
            codebook.random_places(6, 100)
        };
        assert_eq!(places(0, 7), [86, 74, 37, 15, 66, 7]);
        assert_eq!(places(3, 7), [77, 78, 76, 88, 90, 74]);
        assert_eq!(places(3, 8), [24, 86, 35, 29, 62, 16]);
    }
}
